//! One host: what its hardware is, and what a hypervisor on it can and does give to guests of one kind.

use selfsame_xstate::{ComponentSet, Geometry};

use crate::closure::{close, states_of};
use crate::feature::Kind;
use crate::featureset::Featureset;
use crate::finding::Finding;
use crate::leaves::Leaves;
use crate::model::{self, WORDS};
use crate::named::lacks;
use crate::place::{Register, Word};
use crate::policy::Policy;
use crate::quirk;
use crate::rebuild::{self, Floor, rebuild};
use crate::regs::Regs;
use crate::table::{self, VALUES, leaf_01, leaf_80000001, plan_of};
use crate::trim::Trims;
use crate::vendor::Vendor;

/// A host as one kind of guest meets it.
///
/// *Raw* is what the CPU says; *maximum* is what a guest may have here that saw it elsewhere before; *default* is what a
/// new guest sees. Levelling is defined over defaults, acceptance over maxima.
///
/// ```
/// use selfsame_cpuid::{Host, Kind, Leaves, Regs, Trims, feature};
///
/// let mut raw = Leaves::new();
/// raw.set(0, 0, Regs::new(1, 0x756e_6547, 0x6c65_746e, 0x4965_6e69))?;
/// raw.set(1, 0, Regs::new(0x506e3, 0x0001_0800, 0, 0x1 | 1 << 23))?;
/// let host = Host::from_hardware(&raw, Kind::Kvm, &Trims::NONE);
/// let mmx = feature("mmx").unwrap().place;
/// assert!(host.default().features().contains(mmx));
/// # Ok::<(), selfsame_cpuid::OutsideModel>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Host {
    raw: Featureset,
    max: Policy,
    default: Policy,
    /// The bits that no guest may have here, named or not.
    denied: [u32; WORDS],
}

impl Host {
    fn new(raw: Featureset, max: Policy, default: Policy) -> Self {
        let mut denied = table::REFUSED;
        for (denied, given) in denied.iter_mut().zip(max.leaves.words()) {
            *denied &= !given;
        }
        Self { raw, max, default, denied }
    }

    /// Derives a host from what its hardware says, with `trims` as its administrator's command line.
    pub fn from_hardware(raw: &Leaves, kind: Kind, trims: &Trims) -> Self {
        let hardware = Hardware::of(raw, trims);
        // What the hypervisor under which a dump was taken said of itself is no hardware.
        let mut machine = raw.clone();
        let _ = machine.set(0x4000_0001, 0, Regs::ZERO);
        Self::new(machine.features(), hardware.max(kind, trims), hardware.default_policy(kind, trims))
    }

    /// Takes what a hypervisor offers, such as `KVM_GET_SUPPORTED_CPUID`, as the host's maximum and default.
    ///
    /// The list is the maximum, but for what KVM leaves to its VMMs to add on every host: HYPERVISOR, TSC_DEADLINE, ARAT,
    /// and, where a guest's topology asks for them, HTT and CMP_LEGACY.
    pub fn from_offered(offered: &Leaves, kind: Kind, trims: &Trims) -> Self {
        let made = |leaves: &Leaves, set: &mut Featureset| {
            quirk::vmm_makes(kind, set);
            quirk::vmm_may_make(leaves, kind, set);
        };
        let max = offered_policy(offered, kind, trims, made);
        let default = offered_policy(offered, kind, trims, |_, set| quirk::vmm_makes(kind, set));
        Self::new(offered.features(), max, default)
    }

    /// Takes what a VMM says that it gives, such as libvirt's `<cpu>` or QEMU's expansion of `host`, as the host's maximum
    /// and default: what the VMM makes is in it already, but for what a guest's topology asks for.
    pub fn from_vmm(offered: &Leaves, kind: Kind, trims: &Trims) -> Self {
        let max = offered_policy(offered, kind, trims, |leaves, set| quirk::vmm_may_make(leaves, kind, set));
        Self::new(offered.features(), max, offered_policy(offered, kind, trims, |_, _| {}))
    }

    /// Takes a policy as that of a host that gives exactly this.
    pub fn from_policy(policy: &Policy) -> Self {
        Self::new(policy.features(), policy.clone(), policy.clone())
    }

    /// The features that the hardware has, or that were offered.
    pub const fn raw(&self) -> &Featureset {
        &self.raw
    }

    /// The bits that no guest may have here, named or not, in the words of the model.
    pub(crate) const fn denied(&self) -> &[u32; WORDS] {
        &self.denied
    }

    /// What a guest may have here.
    pub const fn max(&self) -> &Policy {
        &self.max
    }

    /// What a new guest sees here.
    pub const fn default(&self) -> &Policy {
        &self.default
    }

    /// The kind of guest that the host is seen for.
    pub const fn kind(&self) -> Kind {
        self.max.kind
    }
}

/// The hardware of a host, freed from what is not the CPU's: the *host policy*.
struct Hardware {
    /// Whether the CPU has leaf 7, if only for what hypervisors make in it.
    has_leaf_7: bool,
    leaves: Leaves,
    set: Featureset,
    geometry: Geometry,
}

impl Hardware {
    fn of(raw: &Leaves, trims: &Trims) -> Self {
        let mut leaves = raw.clone();
        leaves.fill_true_controls();
        rebuild::clear_what_is_not_the_cpus(&mut leaves);
        let mut set = leaves.features();
        set.remove(leaf_01::HYPERVISOR);
        if is_syscall_hidden(raw) {
            set.insert(leaf_80000001::SYSCALL);
        }
        if are_vmx_msrs_unknown(raw) {
            set.remove(leaf_01::VMX);
        }
        quirk::add_unsaid(raw, &mut set);
        trims.apply_to_host(&mut leaves, &mut set);
        let geometry = usable_geometry(raw, raw.vendor());
        close(&mut set, geometry.components().union(ComponentSet::LEGACY));
        rebuild(&mut leaves, &set, &geometry, Floor::default());
        Self { has_leaf_7: raw.get(0, 0).eax >= 7, leaves, set, geometry }
    }

    fn max(&self, kind: Kind, trims: &Trims) -> Policy {
        let plan = plan_of(kind);
        let given = masked(&self.set, |w| plan.hardware[w] | plan.request[w])
            | self.without_hardware(|w| plan.made[w] | plan.anywhere[w]);
        self.policy(kind, trims, given, quirk::adjust_max, |_| false)
    }

    fn default_policy(&self, kind: Kind, trims: &Trims) -> Policy {
        let plan = plan_of(kind);
        let mut given = masked(&self.set, |w| plan.hardware[w] | plan.anywhere[w])
            | self.without_hardware(|w| plan.made[w])
            | (trims.requested(kind) & masked(&self.set, |w| plan.request[w]));
        // Hypervisors raise no highest leaf for what they make.
        if !self.has_leaf_7 {
            given = masked(&given, |w| if model::compared(w / 4).0 == 7 { 0 } else { u32::MAX });
        }
        self.policy(kind, trims, given, quirk::adjust_default, quirk::is_rsba_known)
    }

    /// What may be set on this host without hardware: some bits mean something on one vendor's CPUs only.
    fn without_hardware(&self, mask: impl Fn(usize) -> u32) -> Featureset {
        let mut set = Featureset::from_words(core::array::from_fn(mask));
        quirk::keep_vendors_own(self.leaves.vendor(), &mut set);
        set
    }

    fn policy(
        &self,
        kind: Kind,
        trims: &Trims,
        mut set: Featureset,
        quirk: fn(&Leaves, &Featureset, Kind, &mut Featureset),
        is_unsafe_by: fn(&Featureset) -> bool,
    ) -> Policy {
        let mut leaves = self.leaves.clone();
        let plan = plan_of(kind);
        let signature = leaves.get(1, 0).eax;
        for ((word, hardware), named) in leaves.words_mut().iter_mut().zip(&plan.hardware).zip(&table::NAMED) {
            *word &= hardware | named;
        }
        leaves.change(1, 0, Register::Eax, |_| signature);
        for row in VALUES.iter().filter(|row| kind == Kind::Kvm && row.kvm_at_most.is_some()) {
            let word = leaves.word_mut(row.word);
            *word = row.set(*word, row.get(*word).min(row.kvm_at_most.unwrap_or(u32::MAX)));
        }
        quirk(&self.leaves, &self.set, kind, &mut set);
        trims.apply_to_guest(kind, &mut leaves, &mut set);
        let is_unsafe = is_unsafe_by(&set);
        close(&mut set, self.geometry.components().union(ComponentSet::LEGACY));
        quirk::settle_rsba(is_unsafe, kind, &mut set);
        quirk::settle_speculation(kind, &mut set);
        close(&mut set, self.geometry.components().union(ComponentSet::LEGACY));
        rebuild(&mut leaves, &set, &self.geometry, Floor::default());
        Policy { kind, topology: None, leaves }
    }
}

fn offered_policy(
    offered: &Leaves,
    kind: Kind,
    trims: &Trims,
    vmm_makes: impl FnOnce(&Leaves, &mut Featureset),
) -> Policy {
    let mut leaves = offered.clone();
    let hypervisor = [0x4000_0000, 0x4000_0001].map(|leaf| (leaf, offered.get(leaf, 0)));
    rebuild::clear_what_is_not_the_cpus(&mut leaves);
    for (leaf, regs) in hypervisor {
        // Both are leaves of the model.
        let _ = leaves.set(leaf, 0, regs);
    }
    // What newer kernels say there and nobody here knows.
    for (word, known) in leaves.words_mut().iter_mut().zip(&table::KNOWN) {
        *word &= known;
    }
    let mut set = leaves.features();
    vmm_makes(&leaves, &mut set);
    trims.apply_to_guest(kind, &mut leaves, &mut set);
    let geometry = usable_geometry(offered, offered.vendor());
    close(&mut set, geometry.components().union(ComponentSet::LEGACY));
    rebuild(&mut leaves, &set, &geometry, Floor::default());
    Policy { kind, topology: None, leaves }
}

fn masked(set: &Featureset, mask: impl Fn(usize) -> u32) -> Featureset {
    let mut words = [0; WORDS];
    for (at, (word, &bits)) in words.iter_mut().zip(set.words()).enumerate() {
        *word = bits & mask(at);
    }
    Featureset::from_words(words)
}

/// Whether the dump was taken by 32-bit code on an Intel CPU with LM: SYSCALL shows in 64-bit mode only (SDM vol. 2A,
/// CPUID, 80000001H EDX bit 11).
fn is_syscall_hidden(raw: &Leaves) -> bool {
    raw.vendor().is_intel_like() && raw.is_set(leaf_80000001::LM) && !raw.is_set(leaf_80000001::SYSCALL)
}

/// Whether a CPU with VMX came without the MSRs that say what its VMX can do: no such CPU exists, and no guest can use
/// the one without the other.
fn are_vmx_msrs_unknown(raw: &Leaves) -> bool {
    raw.is_set(leaf_01::VMX) && raw.msr(0x480) == Some(0)
}

/// The geometry that a host's save areas have: rows that a dump lost are those that all CPUs of the vendor have, and
/// components without any row are not there.
fn usable_geometry(raw: &Leaves, vendor: Vendor) -> Geometry {
    raw.geometry().usable(vendor.offsets())
}

/// What is odd in the raw leaves of a host, and what deriving a host makes of it.
///
/// `found` is called for each finding, in no promised order.
pub fn examine(raw: &Leaves, mut found: impl FnMut(Finding)) {
    for (word, known) in Word::all().zip(&table::KNOWN) {
        let bits = raw.word(word) & !known;
        if bits != 0 {
            found(Finding::Unnamed { word, bits });
        }
    }
    if is_syscall_hidden(raw) {
        found(Finding::SyscallHidden);
    }
    if are_vmx_msrs_unknown(raw) {
        found(Finding::VmxUnknown);
    }
    let mut set = raw.features();
    let enumerated = raw.xcr0().union(raw.xss());
    if !set.contains(leaf_01::XSAVE) && !enumerated.is_empty() {
        found(Finding::StateWithoutXsave { components: enumerated });
    }
    let geometry = raw.geometry();
    for defect in geometry.defects() {
        found(Finding::Geometry(defect));
    }
    let offsets = raw.vendor().offsets();
    let (_, filled) = geometry.completed(offsets);
    for component in filled {
        found(Finding::RowFilled { component });
    }
    let usable = geometry.usable(offsets);
    if set.contains(leaf_01::XSAVE) {
        let user: ComponentSet = geometry.user().minus(ComponentSet::LEGACY);
        let alone = user.minus(states_of(&set));
        if !alone.is_empty() {
            found(Finding::StateAlone { components: alone });
        }
    }
    if is_syscall_hidden(raw) {
        set.insert(leaf_80000001::SYSCALL);
    }
    lacks(&set, usable.components().union(ComponentSet::LEGACY), found);
}
