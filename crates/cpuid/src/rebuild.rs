//! What follows from the rest of a policy: leaf 0xD, gated leaves, copies, and the highest leaves.

use core::ops::RangeInclusive;

use selfsame_xstate::{Component, ComponentSet, Geometry};

use crate::closure::states_of;
use crate::feature::Relation;
use crate::featureset::Featureset;
use crate::leaves::Leaves;
use crate::model::{self, WORDS};
use crate::place::{Place, Register};
use crate::regs::Regs;
use crate::table::{
    self, leaf_0d, leaf_01, leaf_05, leaf_07_0_ebx, leaf_07_0_ecx, leaf_07_0_edx, leaf_07_1, leaf_80000001,
    leaf_80000022,
};
use crate::topology_leaves;

/// The features of leaf 1 EDX that AMD repeats at the same bits of 0x80000001 EDX (APM vol. 3, E.4.2).
pub(crate) const COMMON_E1D: u32 = 0x0183_f3ff;

/// Family, model and stepping in leaf 1 EAX, without the processor type.
const SIGNATURE: u32 = 0x0fff_0fff;

/// The size of the line that CLFLUSH flushes, in leaf 1 EBX (SDM vol. 2A, CPUID.01H).
const CLFLUSH_SIZE: u32 = 0xff00;

/// What a leaf or MSR is read for: without this feature it is zero.
struct Gate {
    first: u32,
    last: u32,
    feature: Place,
}

const fn gate(first: u32, last: u32, feature: Place) -> Gate {
    Gate { first, last, feature }
}

/// Leaves that mean something only with a feature.
const LEAF_GATES: [Gate; 17] = [
    gate(0x5, 0x5, leaf_01::MONITOR),
    gate(0xf, 0xf, leaf_07_0_ebx::CMT),
    gate(0x10, 0x10, leaf_07_0_ebx::RDT_A),
    gate(0x12, 0x12, leaf_07_0_ebx::SGX),
    gate(0x14, 0x14, leaf_07_0_ebx::INTEL_PT),
    gate(0x19, 0x19, leaf_07_0_ecx::KEY_LOCKER),
    gate(0x1b, 0x1b, leaf_07_0_edx::PCONFIG),
    gate(0x1c, 0x1c, leaf_07_0_edx::ARCH_LBR),
    gate(0x1d, 0x1e, leaf_07_0_edx::AMX_TILE),
    gate(0x20, 0x20, leaf_07_1::HRESET),
    gate(0x23, 0x23, leaf_07_1::ARCH_PERFMON_EXT),
    gate(0x24, 0x24, leaf_07_1::AVX10),
    gate(0x29, 0x29, leaf_07_1::APX),
    gate(0x8000_000a, 0x8000_000a, leaf_80000001::SVM),
    gate(0x8000_0019, 0x8000_0019, leaf_80000001::PDPE1GB),
    gate(0x8000_001d, 0x8000_001e, leaf_80000001::TOPOEXT),
    gate(0x8000_0022, 0x8000_0022, leaf_80000022::PERFMON_V2),
];

/// MSRs that mean something only with a feature.
const MSR_GATES: [Gate; 4] = [
    gate(0xcf, 0xcf, leaf_07_0_edx::CORE_CAPABILITY),
    gate(0x10a, 0x10a, leaf_07_0_edx::ARCH_CAPABILITIES),
    gate(0x345, 0x345, leaf_01::PDCM),
    gate(0x480, 0x493, leaf_01::VMX),
];

/// The least highest leaves that a policy must show, because a running guest saw them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Floor {
    /// EAX of leaf 0.
    pub basic: u32,
    /// EAX of leaf 7.
    pub leaf_7: u32,
    /// EAX of leaf 0x80000000.
    pub extended: u32,
}

impl Floor {
    /// The floor that a running guest's policy sets.
    pub fn of(leaves: &Leaves) -> Self {
        Self { basic: leaves.get(0, 0).eax, leaf_7: leaves.get(7, 0).eax, extended: leaves.get(0x8000_0000, 0).eax }
    }

    /// The floor that covers both.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            basic: self.basic.max(other.basic),
            leaf_7: self.leaf_7.max(other.leaf_7),
            extended: self.extended.max(other.extended),
        }
    }
}

/// Makes the features of `leaves` those of `set`, and rebuilds all that follows from them.
///
/// `set` must be closed under its prerequisites for the states that `geometry` describes.
pub(crate) fn rebuild(leaves: &mut Leaves, set: &Featureset, geometry: &Geometry, floor: Floor) {
    apply(leaves, set);
    close_gates(leaves, set);
    rebuild_basic_controls(leaves, set);
    rebuild_states(leaves, set, geometry);
    copy_common_bits(leaves);
    settle_address_widths(leaves, floor);
    if !set.contains(leaf_01::CLFLUSH) {
        leaves.change(1, 0, Register::Ebx, |ebx| ebx & !CLFLUSH_SIZE);
    }
    rebuild_maxima(leaves, floor);
}

/// Clears the bits of features that are in `leaves` but not in `set`, and sets those that are only in `set`.
fn apply(leaves: &mut Leaves, set: &Featureset) {
    let present = leaves.features();
    for place in (present - *set).iter() {
        match table::feature_at(place) {
            Some(row) if row.is_default_one => set_low_half(leaves, place, true),
            _ => *leaves.word_mut(place.word()) &= !place.mask(),
        }
    }
    for place in (*set - present).iter() {
        *leaves.word_mut(place.word()) |= place.mask();
        if table::CONTROLS.get(place.word().index()).copied().flatten().is_some() {
            set_low_half(leaves, place, false);
        }
    }
}

/// Says in the low half of a control's MSR whether the control must be 1.
fn set_low_half(leaves: &mut Leaves, place: Place, must_be_one: bool) {
    let Some(low) = table::CONTROLS.get(place.word().index()).copied().flatten() else { return };
    if let Some(word) = leaves.words_mut().get_mut(usize::from(low)) {
        if must_be_one {
            *word |= place.mask();
        } else {
            *word &= !place.mask();
        }
    }
}

fn close_gates(leaves: &mut Leaves, set: &Featureset) {
    for gate in LEAF_GATES.iter().filter(|gate| !set.contains(gate.feature)) {
        for (_, _, slot) in model::slots_in(gate.first..=gate.last) {
            leaves.set_slot(slot, Regs::ZERO);
        }
    }
    // What EDX counts is there with ECX bit 0 only (SDM vol. 2A, CPUID.05H).
    if !set.contains(leaf_05::MWAIT_EXT) {
        leaves.change(0x5, 0, Register::Edx, |_| 0);
    }
    // A version of 0 says that there is no architectural performance monitoring (SDM vol. 2A, CPUID.0AH).
    if leaves.get(0xa, 0).eax & 0xff == 0 {
        let _ = leaves.set(0xa, 0, Regs::ZERO);
    }
    for gate in MSR_GATES.iter().filter(|gate| !set.contains(gate.feature)) {
        for index in gate.first..=gate.last {
            // Every number between is an MSR of the model.
            let _ = leaves.set_msr(index, 0);
        }
    }
}

/// What makes a word zero wherever nothing but features is known.
#[derive(Clone, Copy)]
pub(crate) enum Shut {
    /// Nothing.
    Never,
    /// Its leaf means something with a number only.
    Always,
    /// Its leaf or MSR is read for this feature.
    Without(Place),
}

impl Shut {
    pub(crate) const fn is_shut(self, set: &Featureset) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::Without(feature) => !set.contains(feature),
        }
    }
}

/// What makes each word zero wherever nothing but features is known.
pub(crate) static SHUT_BY: [Shut; WORDS] = {
    let mut shut = [Shut::Never; WORDS];
    let mut word = 0;
    while word < WORDS {
        let (gates, number): (&[Gate], u32) = if word >= model::FIRST_MSR_WORD {
            (&MSR_GATES, model::MSRS[(word - model::FIRST_MSR_WORD) / 2])
        } else {
            (&LEAF_GATES, model::COMPARED[word / 4].0)
        };
        let mut i = 0;
        while i < gates.len() {
            if gates[i].first <= number && number <= gates[i].last {
                shut[word] = Shut::Without(gates[i].feature);
            }
            i += 1;
        }
        // Of leaf 0xA, the version.
        if number == 0xa {
            shut[word] = Shut::Always;
        }
        word += 1;
    }
    shut
};

/// The controls that are 1 by default: pin-based, primary, exit, entry (SDM vol. 3D, A.3.1, A.3.2, A.4, A.5).
const DEFAULT_ONES: [u32; 4] = [0x0000_0016, 0x0401_e172, 0x0003_6dff, 0x0000_11ff];

/// MSRs 0x481 to 0x484 say what 0x48D to 0x490 say, but for the controls that are 1 by default: there they must be 1.
fn rebuild_basic_controls(leaves: &mut Leaves, set: &Featureset) {
    if !set.contains(leaf_01::VMX) {
        return;
    }
    for (i, ones) in (0..).zip(DEFAULT_ONES) {
        let value = leaves.msr(0x48d + i).unwrap_or_default();
        if value != 0 {
            let _ = leaves.set_msr(0x481 + i, value | u64::from(ones) | u64::from(ones) << 32);
        }
    }
}

impl Leaves {
    /// Fills MSRs 0x48D to 0x490 on a CPU from before they were there (MSR 0x480 bit 55 is clear): it has one way to
    /// say what its controls may be, 0x481 to 0x484, and the table's rows are places in the later ones.
    pub fn fill_true_controls(&mut self) {
        if self.msr(0x480).unwrap_or_default() >> 55 & 1 == 0 {
            for i in 0..4 {
                let value = self.msr(0x481 + i).unwrap_or_default();
                let _ = self.set_msr(0x48d + i, value);
            }
        }
    }
}

/// In ECX of a component's row: it may be kept from use by IA32_XFD (SDM vol. 1, 13.2).
pub(crate) const XFD_FLAG: u32 = 4;

/// The flags of a component's row that a policy shows: the class always, the alignment where there is compaction, XFD
/// where there is XFD.
pub(crate) const fn shown_flags(leaves: &Leaves) -> u32 {
    let has_compaction = leaves.is_set(leaf_0d::XSAVEC) || leaves.is_set(leaf_0d::XSAVES);
    1 | if has_compaction { 2 } else { 0 } | if leaves.is_set(leaf_0d::XFD) { XFD_FLAG } else { 0 }
}

/// Rebuilds leaf 0xD from the features and from where the hardware keeps each component.
fn rebuild_states(leaves: &mut Leaves, set: &Featureset, geometry: &Geometry) {
    let has = |place| set.contains(place);
    let states = if has(leaf_01::XSAVE) { states_of(set) } else { ComponentSet::EMPTY };
    let given = states.intersection(geometry.components().union(ComponentSet::LEGACY));
    let user: ComponentSet = given.iter().filter(|&c| !geometry.is_supervisor(c)).collect();
    let supervisor = if has(leaf_0d::XSAVES) { given.minus(user) } else { ComponentSet::EMPTY };
    let size_bytes = geometry.standard_size(user).unwrap_or_default();
    leaves.set_states(user, supervisor);
    leaves.change(0xd, 0, Register::Ecx, |_| size_bytes);
    // EBX of both follows XCR0 and XSS at the exit.
    leaves.change(0xd, 0, Register::Ebx, |_| 0);
    leaves.change(0xd, 1, Register::Ebx, |_| 0);
    let shown_flags = shown_flags(leaves);
    for component in (2..=62).filter_map(Component::new) {
        let row = if user.union(supervisor).contains(component) { geometry.row(component) } else { None };
        let mut regs = row.map_or(Regs::ZERO, |row| row.registers().into());
        regs.ecx &= shown_flags;
        leaves.set_state_row(component, regs);
    }
}

fn copy_common_bits(leaves: &mut Leaves) {
    let leaf_1 = leaves.get(1, 0);
    let is_amd_like = leaves.vendor().is_amd_like();
    let common = if is_amd_like { leaf_1.edx & COMMON_E1D } else { 0 };
    leaves.change(0x8000_0001, 0, Register::Edx, |edx| (edx & !COMMON_E1D) | common);
    leaves.change(0x8000_0001, 0, Register::Eax, |_| if is_amd_like { leaf_1.eax } else { 0 });
}

/// A CPU with PAE or PSE36 has at least 36 physical address bits, any other 32; linear addresses have 57 bits with
/// LA57, 48 with LM, else 32 (SDM vol. 2A, CPUID.80000008H).
fn settle_address_widths(leaves: &mut Leaves, floor: Floor) {
    // Where the leaf is shown, zero would be a width; where it is not, guests take what PAE promises.
    let is_shown = floor.extended >= 0x8000_0008 || last_leaf(leaves, 0x8000_0008..=0x8000_ffff).is_some();
    let least = if leaves.is_set(leaf_01::PAE) || leaves.is_set(leaf_01::PSE36) { 36 } else { 32 };
    let linear = match (leaves.is_set(leaf_07_0_ecx::LA57), leaves.is_set(leaf_80000001::LM)) {
        (true, true) => 57,
        (false, true) => 48,
        (_, false) => 32,
    };
    leaves.change(0x8000_0008, 0, Register::Eax, |eax| {
        if is_shown { eax & !0xffff | (eax & 0xff).max(least) | linear << 8 } else { 0 }
    });
}

/// The last leaf of a range that is not zero.
fn last_leaf(leaves: &Leaves, range: RangeInclusive<u32>) -> Option<u32> {
    let mut used = model::slots_in(range).filter(|(_, _, slot)| !leaves.slot(*slot).is_zero());
    used.next_back().map(|(leaf, _, _)| leaf)
}

/// The highest basic leaf that is needed: the last one that is not zero, and leaf 0xB for x2APIC ids.
fn basic_max(leaves: &Leaves) -> u32 {
    let last = last_leaf(leaves, 1..=0x3fff_ffff);
    let needs_topology = leaves.is_set(leaf_01::X2APIC);
    last.unwrap_or(0).max(if needs_topology { 0xb } else { 0 }).max(1)
}

fn rebuild_maxima(leaves: &mut Leaves, floor: Floor) {
    for leaf in [0x7, 0x14, 0x1e, 0x20, 0x24, 0x29] {
        let last = (1..8).rev().find(|&subleaf| !leaves.get(leaf, subleaf).is_zero()).unwrap_or(0);
        leaves.change(leaf, 0, Register::Eax, |_| last.max(if leaf == 0x7 { floor.leaf_7 } else { 0 }));
    }
    let basic = basic_max(leaves).max(floor.basic);
    leaves.change(0, 0, Register::Eax, |_| basic);
    for base in [0x8000_0000, 0xc000_0000] {
        let last = last_leaf(leaves, base + 1..=base + 0xffff);
        let least = if base == 0x8000_0000 { floor.extended } else { 0 };
        leaves.change(base, 0, Register::Eax, |_| last.unwrap_or(0).max(least));
    }
    let leaf_0 = leaves.get(0, 0);
    let max = leaves.get(0x8000_0000, 0).eax;
    let name = if leaves.vendor().is_amd_like() { leaf_0 } else { Regs::ZERO };
    let _ = leaves.set(0x8000_0000, 0, Regs { eax: max, ..name });
}

/// Clears what lies beyond the highest leaf or subleaf that the CPU claims: it is no answer of this CPU.
fn clear_out_of_range(leaves: &mut Leaves) {
    let claims: [(u32, u32); 4] =
        [0, 0x8000_0000, 0x8086_0000, 0xc000_0000].map(|base| (base, leaves.get(base, 0).eax));
    let last_subleaf = [0x7, 0x14, 0x1d, 0x1e, 0x20, 0x24, 0x29].map(|leaf| (leaf, leaves.get(leaf, 0).eax));
    for (leaf, subleaf, slot) in model::slots() {
        if leaves.slot(slot).is_zero() {
            continue;
        }
        let base = leaf & 0xffff_0000;
        let is_beyond =
            |&(first, claim): &(u32, u32)| first == base && leaf != first && !(first..=claim).contains(&leaf);
        let is_past = |&(of, last): &(u32, u32)| of == leaf && subleaf.is_some_and(|subleaf| subleaf > last);
        if claims.iter().any(is_beyond) || last_subleaf.iter().any(is_past) {
            leaves.set_slot(slot, Regs::ZERO);
        }
    }
}

/// The bits with a row that are the CPU's own: no machine's, no moment's, and not made of others.
static OF_THE_CPU: [u32; WORDS] = {
    let local = table::covered_by(Relation::Local);
    let dynamic = table::covered_by(Relation::Dynamic);
    let derived = table::covered_by(Relation::Derived);
    let mut own = [0; WORDS];
    let mut at = 0;
    while at < WORDS {
        own[at] = table::KNOWN[at] & !(local[at] | dynamic[at] | derived[at]);
        at += 1;
    }
    own
};

/// Clears what a policy never holds: bits without a row, what belongs to one machine or one moment, topology, and what
/// the hypervisor under which a dump was taken said about itself.
pub(crate) fn clear_what_is_not_the_cpus(leaves: &mut Leaves) {
    clear_out_of_range(leaves);
    let signature = leaves.get(1, 0).eax & SIGNATURE;
    let leaf_0 = leaves.get(0, 0);
    // Half a name is nobody's.
    let vendor = if leaf_0.has_half_a_vendor() { Regs { eax: leaf_0.eax, ..Regs::ZERO } } else { leaf_0 };
    for (word, kept) in leaves.words_mut().iter_mut().zip(&OF_THE_CPU) {
        *word &= kept;
    }
    let _ = leaves.set(0, 0, vendor);
    leaves.change(1, 0, Register::Eax, |_| signature);
    for (leaf, _, slot) in model::slots() {
        let is_kept = slot >= model::COMPARED_SLOTS;
        if (0x4000_0000..0x5000_0000).contains(&leaf)
            || is_kept && !matches!(table::kept_relation(leaf), Relation::Descriptive) && leaf != 0xd
        {
            leaves.set_slot(slot, Regs::ZERO);
        }
    }
    topology_leaves::clear(leaves);
}
