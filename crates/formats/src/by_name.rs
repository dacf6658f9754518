//! CPUs of which a file tells features by name, and little else: what stands where, as if CPUID had been asked.
//!
//! Such a file tells what somebody offers to guests, not what the hardware is. What its names leave open and every such
//! offer has (where components lie, AMX's one palette, the fixed bits of nested VMX) is filled in here.

use std::sync::LazyLock;

use selfsame_cpuid::{
    CR4_BITS, ControlBit, FEATURES, Feature, Featureset, Place, Register, Regs, Signature, Vendor, WordSource,
    feature_at,
};
use selfsame_xstate::{Component, ComponentSet, Geometry};

use crate::dump::CpuDump;
use crate::error::ReadError;
use crate::findings::Findings;
use crate::models::is_vmx;
use crate::spelling::{Meaning, Spelling, meaning, qemu_feature, suggestion};

/// What is known of a CPU beside its features.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Identity {
    /// The vendor's twelve bytes; a CPU of which nobody says it may be any vendor's.
    pub(crate) vendor: Option<[u8; 12]>,
    /// Whose CPU it resembles, where the vendor is not said: components lie where that vendor has them.
    pub(crate) likeness: Option<Vendor>,
    /// Family, model and stepping.
    pub(crate) signature: Option<Signature>,
    /// The width of physical addresses.
    pub(crate) physical_bits: Option<u8>,
    /// The CPU's own name for itself.
    pub(crate) brand: Option<String>,
}

/// Gathers the features of one CPU by their names.
#[derive(Debug)]
pub(crate) struct NamedCpu {
    spelling: Spelling,
    identity: Identity,
    present: Featureset,
    known: usize,
}

impl NamedCpu {
    /// Begins a CPU whose features have the names of `spelling`.
    pub(crate) fn new(spelling: Spelling, identity: Identity) -> Self {
        Self { spelling, identity, present: Featureset::EMPTY, known: 0 }
    }

    /// The vendor, as far as names and places depend on it.
    pub(crate) fn vendor(&self) -> Vendor {
        match self.identity.vendor {
            Some(name) => Vendor::of(vendor_regs(name)),
            None => self.identity.likeness.unwrap_or(Vendor::Unknown),
        }
    }

    /// Adds a feature. A name that nobody knows is a finding.
    pub(crate) fn add(&mut self, name: &str, line: Option<usize>, findings: &mut Findings) {
        if let Some(row) = self.resolve(name, line, findings) {
            self.present.insert(row.place);
        }
    }

    /// Adds a feature by its place: bits that nobody names are kept, and [`selfsame_cpuid::examine`] tells of them.
    pub(crate) fn insert(&mut self, place: Place) {
        self.known += usize::from(feature_at(place).is_some());
        self.present.insert(place);
    }

    /// Adds features whose names are resolved already.
    pub(crate) fn add_all(&mut self, features: &Featureset) {
        self.present |= *features;
        self.known += 1;
    }

    /// Adds or takes away a feature whose name is resolved already.
    pub(crate) fn put(&mut self, place: Place, is_present: bool) {
        self.known += 1;
        if is_present {
            self.present.insert(place);
        } else {
            self.present.remove(place);
        }
    }

    fn resolve(&mut self, name: &str, line: Option<usize>, findings: &mut Findings) -> Option<&'static Feature> {
        match meaning(name, self.spelling, self.vendor()) {
            Some(Meaning::Feature(row)) => {
                self.known += 1;
                Some(row)
            }
            Some(Meaning::Software(_)) => {
                self.known += 1;
                None
            }
            None => {
                note_unknown(name, line, self.spelling, findings);
                None
            }
        }
    }

    /// Ends the CPU: gives it its leaves.
    ///
    /// # Errors
    ///
    /// No name was known: the file is about something else.
    pub(crate) fn finish(mut self, number: u32, findings: &mut Findings) -> Result<CpuDump, ReadError> {
        if self.known == 0 {
            return Err(ReadError::NoKnownFeature);
        }
        let mut cpu = CpuDump::new(number);
        drop_unreadable(&mut self.present);
        self.add_vmx(&mut cpu);
        for place in self.present.iter() {
            set(&mut cpu, place);
        }
        self.add_numbers(&mut cpu, findings);
        self.add_states(&mut cpu, findings);
        self.add_identity(&mut cpu);
        add_highest(&mut cpu);
        Ok(cpu)
    }

    fn has(&self, name: &str) -> bool {
        qemu_feature(name).is_some_and(|row| self.present.contains(row.place))
    }

    /// Fills what KVM's nested VMX says on every host, and makes the controls that are 1 by default and not named so.
    fn add_vmx(&self, cpu: &mut CpuDump) {
        if !self.has("vmx") {
            return;
        }
        cpu.msrs.extend(KVM_VMX.map(|(index, value)| (index, Some(value))));
        let is_brought = |row: &&ControlBit| row.features.is_empty() || row.features.iter().any(|name| self.has(name));
        let cr4 = CR4_BITS.iter().filter(is_brought).fold(CR4_ALWAYS, |bits, row| bits | 1 << row.bit);
        cpu.msrs.insert(0x489, Some(cr4));
        for row in FEATURES.iter().filter(|row| row.is_default_one && !self.present.contains(row.place)) {
            if let WordSource::Msr { index, .. } = row.place.word().source() {
                let both = u64::from(row.place.mask()) << 32 | u64::from(row.place.mask());
                let value = cpu.msrs.entry(index).or_insert(Some(0));
                *value = value.map(|value| value | both);
            }
        }
    }

    /// Fills numbers that have one value wherever the feature is.
    fn add_numbers(&self, cpu: &mut CpuDump, findings: &mut Findings) {
        for (_, leaf, subleaf, regs) in NUMBERS.iter().filter(|(name, ..)| self.has(name)) {
            let row = cpu.leaves.entry((*leaf, *subleaf)).or_default();
            let [eax, ebx, ecx, edx] = regs;
            *row = Regs::new(row.eax | eax, row.ebx | ebx, row.ecx | ecx, row.edx | edx);
        }
        let linear = if self.has("la57") {
            57
        } else if self.has("lm") {
            48
        } else {
            32
        };
        let least = least_physical_bits(&self.present);
        if self.identity.physical_bits.is_none() {
            note_physical_bits(least, findings);
        }
        let physical = self.identity.physical_bits.unwrap_or(least);
        cpu.leaves.entry((0x8000_0008, 0)).or_default().eax = u32::from(physical) | linear << 8;
    }

    /// Lays the state out that the features use, where the vendor's CPUs have it.
    fn add_states(&self, cpu: &mut CpuDump, findings: &mut Findings) {
        if !self.has("xsave") {
            return;
        }
        let (user, supervisor) = states(&self.present);
        let flags = cpu.get(0xd, 1).unwrap_or_default().eax;
        let (xcr0, xss) = (user.halves(), supervisor.halves());
        let bare = Geometry::read(|subleaf| match subleaf {
            0 => [xcr0.0, 0, 0, xcr0.1],
            1 => [flags, 0, xss.0, xss.1],
            _ => [0; 4],
        });
        let vendor = self.vendor();
        let (geometry, filled) = bare.completed(vendor.offsets());
        for component in filled {
            if let Some(row) = geometry.row(component) {
                cpu.leaves.insert((0xd, u32::from(component.index())), Regs::from(row.registers()));
            }
        }
        let size_bytes = geometry.without_holes().standard_size(user.minus(geometry.holes())).unwrap_or_default();
        cpu.leaves.insert((0xd, 0), Regs::new(xcr0.0, size_bytes, size_bytes, xcr0.1));
        if flags != 0 || !supervisor.is_empty() {
            cpu.leaves.insert((0xd, 1), Regs::new(flags, 0, xss.0, xss.1));
        }
        note_layout(filled, vendor, findings);
    }

    fn add_identity(&self, cpu: &mut CpuDump) {
        let vendor = self.identity.vendor.map(vendor_regs).unwrap_or_default();
        cpu.leaves.insert((0, 0), vendor);
        if let Some(signature) = self.identity.signature {
            cpu.leaves.entry((1, 0)).or_default().eax = signature.leaf_1_eax();
        }
        let Some(brand) = &self.identity.brand else { return };
        let mut bytes = [0u8; 48];
        for (to, from) in bytes.iter_mut().zip(brand.bytes().filter(u8::is_ascii).take(47)) {
            *to = from;
        }
        for (leaf, part) in (0x8000_0002..).zip(bytes.chunks_exact(16)) {
            let mut registers = [0; 4];
            for (register, bytes) in registers.iter_mut().zip(part.chunks_exact(4)) {
                *register = u32::from_le_bytes(bytes.try_into().unwrap_or_default());
            }
            cpu.leaves.insert((leaf, 0), registers.into());
        }
    }
}

/// Drops what MSRs would tell that cannot be read: those of VMX on a CPU without VMX, and its true controls where it has
/// none (SDM vol. 3D, A.2).
pub(crate) fn drop_unreadable(present: &mut Featureset) {
    static UNREADABLE: LazyLock<[(Option<Place>, Featureset); 2]> = LazyLock::new(|| {
        let place = |name| qemu_feature(name).map(|row| row.place);
        let is_true_control =
            |place: Place| matches!(place.word().source(), WordSource::Msr { index: 0x48d..=0x490, .. });
        let places =
            |is: &dyn Fn(Place) -> bool| FEATURES.iter().map(|row| row.place).filter(|&place| is(place)).collect();
        [(place("vmx"), places(&is_vmx)), (place("vmx-true-ctls"), places(&is_true_control))]
    });
    for (gate, behind) in &*UNREADABLE {
        if !gate.is_some_and(|gate| present.contains(gate)) {
            *present -= *behind;
        }
    }
}

/// The user and the supervisor components that leaf 0xD has for features; none without XSAVE.
pub(crate) fn states(present: &Featureset) -> (ComponentSet, ComponentSet) {
    static USED: LazyLock<Vec<(Place, ComponentSet)>> = LazyLock::new(|| {
        let rows = FEATURES.iter().filter(|row| !row.components.is_empty());
        rows.map(|row| (row.place, row.components)).collect()
    });
    static GATES: LazyLock<[Option<Place>; 2]> =
        LazyLock::new(|| ["xsave", "xsaves"].map(|name| qemu_feature(name).map(|row| row.place)));
    let [has_xsave, has_xsaves] = GATES.map(|gate| gate.is_some_and(|gate| present.contains(gate)));
    if !has_xsave {
        return (ComponentSet::EMPTY, ComponentSet::EMPTY);
    }
    let used = USED.iter().filter(|(place, _)| present.contains(*place));
    let used = used.fold(ComponentSet::EMPTY, |all, (_, states)| all.union(*states));
    let user = (used & ComponentSet::USER) | ComponentSet::LEGACY;
    (user, if has_xsaves { used & ComponentSet::GUEST_SUPERVISOR } else { ComponentSet::EMPTY })
}

/// The width of physical addresses that every CPU with these features has.
pub(crate) fn least_physical_bits(present: &Featureset) -> u8 {
    static WIDE: LazyLock<Vec<Place>> =
        LazyLock::new(|| ["pae", "pse36"].iter().filter_map(|name| Some(qemu_feature(name)?.place)).collect());
    if WIDE.iter().any(|place| present.contains(*place)) { 36 } else { 32 }
}

/// Says that nobody said how wide physical addresses are.
pub(crate) fn note_physical_bits(least: u8, findings: &mut Findings) {
    findings.note("maxphysaddr", None, format!("not said: counts as {least}, the least of such CPUs"));
}

/// Whether every one of some components has a place of its own on the CPUs of a vendor.
pub(crate) fn is_room_for(user: ComponentSet, supervisor: ComponentSet, vendor: Vendor) -> bool {
    let (xcr0, xss) = (user.halves(), supervisor.halves());
    let bare = Geometry::read(|subleaf| match subleaf {
        0 => [xcr0.0, 0, 0, xcr0.1],
        1 => [0, 0, xss.0, xss.1],
        _ => [0; 4],
    });
    bare.usable(vendor.offsets()).components() == user.union(supervisor)
}

/// The features that show in CR4 of VMX operation, where it has no bit of theirs always.
pub(crate) fn shown_in_cr4() -> &'static [Place] {
    static SHOWN: LazyLock<Vec<Place>> =
        LazyLock::new(|| CR4_BITS.iter().filter(|row| CR4_ALWAYS >> row.bit & 1 == 0).flat_map(places_of).collect());
    &SHOWN
}

/// The bits of CR4 that several features bring, of which one or more are there.
pub(crate) fn shared_in_cr4(present: &Featureset) -> u64 {
    static SHARED: LazyLock<Vec<(u64, Place)>> = LazyLock::new(|| {
        let shared = CR4_BITS.iter().filter(|row| row.features.len() > 1);
        shared.flat_map(|row| places_of(row).map(|place| (1 << row.bit, place))).collect()
    });
    SHARED.iter().filter(|(_, place)| present.contains(*place)).fold(0, |bits, (bit, _)| bits | bit)
}

fn places_of(row: &ControlBit) -> impl Iterator<Item = Place> {
    row.features.iter().filter_map(|name| Some(qemu_feature(name)?.place))
}

/// What the names of features do not tell of nested VMX and KVM says on every host (Linux arch/x86/kvm/vmx/nested.c,
/// nested_vmx_setup_ctls_msrs): the revision, the size and memory type of a VMCS, CR0 and CR4 in VMX operation, the
/// highest index of a VMCS field.
const KVM_VMX: [(u32, u64); 5] =
    [(0x480, 0x0018_1000_11e5_7ed0), (0x486, 0x8000_0021), (0x487, 0xffff_ffff), (0x488, 0x2000), (0x48a, 0x2e)];

/// Bits of CR4 that are there with every CPU that has VMX: TSD, DE, PSE, MCE, PCE and VMXE.
const CR4_ALWAYS: u64 = 1 << 2 | 1 << 3 | 1 << 4 | 1 << 6 | 1 << 8 | 1 << 13;

/// Numbers that go with a feature: lines of 64 bytes; AMX's palette 1, the only one there is, and its multiplier; the
/// first version of AVX10; QEMU's nested SVM.
const NUMBERS: [(&str, u32, u32, [u32; 4]); 6] = [
    ("clflush", 0x1, 0, [0, 0x0800, 0, 0]),
    ("amx-tile", 0x1d, 0, [1, 0, 0, 0]),
    ("amx-tile", 0x1d, 1, [0x0400_2000, 0x0008_0040, 0x0010, 0]),
    ("amx-tile", 0x1e, 0, [0, 0x0000_4010, 0, 0]),
    ("avx10", 0x24, 0, [0, 1, 0, 0]),
    ("svm", 0x8000_000a, 0, [1, 16, 0, 0]),
];

/// Says where the layout of leaf 0xD comes from, if any of it differs by vendor or is not known to be that vendor's.
pub(crate) fn note_layout(filled: ComponentSet, vendor: Vendor, findings: &mut Findings) {
    let moved = moved(filled);
    if moved.is_empty() {
        return;
    }
    let whose = if vendor.is_amd_like() { "AMD's" } else { "Intel's" };
    let doubt = if vendor == Vendor::Unknown { ", as no vendor is named" } else { "" };
    let reason = format!("names of features do not place {moved}: taken where {whose} CPUs have it{doubt}");
    findings.note("leaf 0000000d", None, reason);
}

/// The components of a set that do not lie at one place on the CPUs of all vendors.
pub(crate) fn moved(states: ComponentSet) -> ComponentSet {
    static FIXED: LazyLock<ComponentSet> = LazyLock::new(|| {
        let is_fixed = |component: &Component| component.described().is_some_and(|row| row.intel == row.amd);
        ComponentSet::from_bits(u64::MAX).iter().filter(is_fixed).collect()
    });
    states.minus(*FIXED)
}

/// Sets one bit where CPUID or an MSR shows it.
fn set(cpu: &mut CpuDump, place: Place) {
    match place.word().source() {
        WordSource::Cpuid { leaf, subleaf, register } => {
            let regs = cpu.leaves.entry((leaf, subleaf.unwrap_or(0))).or_default();
            let word = match register {
                Register::Eax => &mut regs.eax,
                Register::Ebx => &mut regs.ebx,
                Register::Ecx => &mut regs.ecx,
                Register::Edx => &mut regs.edx,
            };
            *word |= place.mask();
        }
        WordSource::Msr { index, is_high } => {
            let bit = u64::from(place.mask()) << if is_high { 32 } else { 0 };
            let value = cpu.msrs.entry(index).or_insert(Some(0));
            *value = value.map(|value| value | bit);
        }
    }
}

/// Makes the highest leaves and subleaves cover what is there.
fn add_highest(cpu: &mut CpuDump) {
    for leaf in [0x7, 0x14, 0x1e, 0x20, 0x24, 0x29] {
        let last = cpu.leaves.range((leaf, 1)..=(leaf, u32::MAX)).next_back().map(|((_, subleaf), _)| *subleaf);
        if let Some(last) = last {
            cpu.leaves.entry((leaf, 0)).or_default().eax = last;
        }
    }
    for base in [0, 0x8000_0000, 0xc000_0000] {
        let last = cpu.leaves.range((base, 0)..(base + 0x1_0000, 0)).next_back().map(|((leaf, _), _)| *leaf);
        if let Some(last) = last {
            cpu.leaves.entry((base, 0)).or_default().eax = last;
        }
    }
}

/// Leaf 0 of a vendor.
pub(crate) fn vendor_regs(name: [u8; 12]) -> Regs {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = name;
    let word = u32::from_le_bytes;
    Regs::new(0, word([a, b, c, d]), word([i, j, k, l]), word([e, f, g, h]))
}

/// A name as a finding's subject: names come from files.
fn quoted(name: &str) -> String {
    const LONG: usize = 64;
    format!("`{}`", name.chars().take(LONG).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>())
}

/// Names a name that nobody knows.
pub(crate) fn note_unknown(name: &str, line: Option<usize>, spelling: Spelling, findings: &mut Findings) {
    findings.note(quoted(name), line, unknown(name, spelling));
}

fn unknown(name: &str, spelling: Spelling) -> String {
    let hint = suggestion(name, spelling).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    format!("no feature known here has this name, so it is left out{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dump, Source, detect::Format};
    use selfsame_cpuid::Leaves;

    const INTEL: Option<[u8; 12]> = Some(*b"GenuineIntel");

    fn raw(spelling: Spelling, identity: Identity, names: &[&str]) -> (Leaves, Vec<crate::Finding>) {
        let mut findings = Findings::default();
        let mut cpu = NamedCpu::new(spelling, identity);
        for name in names {
            cpu.add(name, None, &mut findings);
        }
        let cpus = vec![cpu.finish(0, &mut findings).unwrap()];
        let source = Source::Converted(Format::Capture);
        let dump = Dump { name: "a".into(), source, context: Vec::new(), cpus, findings: Vec::new() };
        (dump.raw().leaves, findings.into_vec())
    }

    #[test]
    fn every_name_is_read_back_from_the_leaves_that_it_made() {
        // Bits that say what leaf 0xD enumerates follow from the features that use the states.
        let own = FEATURES.iter().filter(|row| row.relation != selfsame_cpuid::Relation::Derived);
        let names: Vec<&str> = own.clone().map(|row| row.name).collect();
        let identity = Identity { vendor: INTEL, ..Identity::default() };
        let (leaves, findings) = raw(Spelling::Qemu, identity, &names);
        let missing: Vec<&str> = own.filter(|row| !leaves.features().contains(row.place)).map(|row| row.name).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let whats: Vec<&str> = findings.iter().map(|finding| &*finding.what).collect();
        assert_eq!(whats, ["maxphysaddr", "leaf 0000000d"]);
    }

    #[test]
    fn a_control_that_is_1_by_default_and_not_named_must_be_1() {
        let identity = Identity { vendor: INTEL, ..Identity::default() };
        let (leaves, _) = raw(Spelling::Qemu, identity, &["vmx", "vmx-true-ctls", "vmx-cr3-load-noexit"]);
        let primary = leaves.msr(0x48e).unwrap();
        assert_eq!(primary >> 15 & 1, 0, "cr3-load exits may be off");
        assert_eq!(primary >> 16 & 1, 1, "cr3-store exits may not");
    }

    #[test]
    fn every_bit_of_cr4_that_a_feature_brings_can_be_set_in_vmx_operation() {
        for row in &CR4_BITS {
            for name in row.features {
                let identity = Identity { vendor: INTEL, ..Identity::default() };
                let (leaves, _) = raw(Spelling::Qemu, identity, &["vmx", name]);
                let cr4 = leaves.msr(0x489).unwrap();
                assert_eq!(cr4 >> row.bit & 1, 1, "{name}");
                assert_eq!(cr4, CR4_ALWAYS | leaves.cr4_bits(), "{name}");
            }
        }
    }

    #[test]
    fn a_name_that_nobody_knows_is_a_finding_and_a_cpu_without_any_other_an_error() {
        let mut findings = Findings::default();
        let mut cpu = NamedCpu::new(Spelling::Qemu, Identity::default());
        cpu.add("avx521f", Some(3), &mut findings);
        assert_eq!(cpu.finish(0, &mut findings), Err(ReadError::NoKnownFeature));
        let told: Vec<String> = findings.into_vec().iter().map(ToString::to_string).collect();
        let unknown = "no feature known here has this name, so it is left out; did you mean avx512f?";
        assert_eq!(told, [format!("line 3: `avx521f`: {unknown}")]);
    }

    #[test]
    fn states_lie_where_the_vendor_has_them() {
        let names = ["xsave", "avx", "avx2", "avx512f", "pku"];
        for (vendor, offset, size_bytes) in [(b"GenuineIntel", 0x440, 0xa88), (b"AuthenticAMD", 0x340, 0x988)] {
            let identity = Identity { vendor: Some(*vendor), physical_bits: Some(46), ..Identity::default() };
            let (leaves, findings) = raw(Spelling::Qemu, identity, &names);
            assert_eq!(leaves.get(0xd, 5).ebx, offset);
            assert_eq!(leaves.get(0xd, 0).ecx, size_bytes);
            assert!(leaves.geometry().defects().next().is_none());
            assert_eq!(findings.len(), 1);
        }
    }

    #[test]
    fn a_cpu_without_vendor_keeps_its_features_and_its_likeness() {
        let identity = Identity { likeness: Some(Vendor::Amd), physical_bits: Some(48), ..Identity::default() };
        let (leaves, _) = raw(Spelling::Linux, identity, &["lm", "ibrs"]);
        assert_eq!(leaves.vendor_name(), selfsame_cpuid::VendorName::of(Regs::ZERO));
        assert!(leaves.is_set("80000008.ebx[14]".parse().unwrap()));
        assert_eq!(leaves.get(0x8000_0008, 0).eax, 0x3030);
    }
}
