//! Machines of which a file names features: kept as names, and laid out as leaves only where somebody wants leaves.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use selfsame_cpuid::{
    FEATURES, Feature, Featureset, Leaves, NamedHost, PackedFeatures, Place, Relation, Signature, Vendor, WordSource,
};
use selfsame_xstate::ComponentSet;

use crate::by_name::{self, Identity, NamedCpu};
use crate::detect::Format;
use crate::dirt;
use crate::dump::{Dump, Source};
use crate::findings::{Finding, Findings};
use crate::spelling::Spelling;

/// What files say of many machines alike, beside their features.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) identity: Identity,
    pub(crate) context: Vec<(String, String)>,
    /// What was odd.
    pub(crate) findings: Vec<Finding>,
}

/// A machine of which a libvirt `<cpu>` names the features: all that [`Dump`] says of it, in little memory.
#[derive(Clone, Debug)]
pub struct NamedMachine {
    about: Arc<About>,
    features: Box<PackedFeatures>,
    /// What is odd about this machine alone.
    findings: Box<[Finding]>,
}

/// Whether components, user and supervisor, all have a place on the CPUs of AMD and its like, or of Intel and its.
pub(crate) type Rooms = BTreeMap<(u64, u64, bool), bool>;

/// What machines have in common whose default policies differ in features only: see [`Kin`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Kinship {
    about: usize,
    least_physical_bits: u8,
    /// The components whose place the vendor decides.
    moved: u64,
    /// The bits of CR4 that several features bring, of which one or more are there.
    shared_in_cr4: u64,
    /// Features that guests do not see, and that show in the CR4 of VMX operation.
    hidden: Box<[Place]>,
}

impl NamedMachine {
    /// Keeps a machine; `None` where its features cannot be told from their names alone: some have no row, repeat
    /// others, lie in leaves that only another vendor's CPUs have, or use state for which the vendor's CPUs have no place.
    pub(crate) fn new(
        about: &Arc<About>,
        features: &Featureset,
        findings: Vec<Finding>,
        rooms: &mut Rooms,
    ) -> Option<Self> {
        static PLAIN: LazyLock<Featureset> = LazyLock::new(|| {
            let is_of_one_vendor =
                |place: Place| matches!(place.word().source(), WordSource::Cpuid { leaf: 0x8086_0000.., .. });
            let is_plain = |row: &&Feature| row.relation != Relation::Derived && !is_of_one_vendor(row.place);
            FEATURES.iter().filter(is_plain).map(|row| row.place).collect()
        });
        let (user, supervisor) = by_name::states(features);
        let vendor = about.likeness();
        let is_room = rooms.entry((user.bits(), supervisor.bits(), vendor.is_amd_like()));
        let is_plain =
            features.is_subset_of(&PLAIN) && *is_room.or_insert_with(|| by_name::is_room_for(user, supervisor, vendor));
        let features = || Box::new(PackedFeatures::from(features));
        is_plain.then(|| Self { about: Arc::clone(about), features: features(), findings: findings.into() })
    }

    /// Whether two machines are the same, but for their names.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.about, &other.about) && self.features == other.features && self.findings == other.findings
    }

    /// Its features, as leaves would show them.
    pub fn features(&self) -> &PackedFeatures {
        &self.features
    }

    /// Who gave the answers.
    pub fn source(&self) -> Source {
        Source::Converted(Format::LibvirtCpu)
    }

    /// What else is known of it: keys and values.
    pub fn context(&self) -> &[(String, String)] {
        &self.about.context
    }

    /// The vendor's twelve bytes; zero where nobody says it.
    pub fn vendor_bytes(&self) -> [u8; 12] {
        self.about.identity.vendor.unwrap_or_default()
    }

    /// Family, model and stepping.
    pub fn signature(&self) -> Signature {
        self.about.identity.signature.unwrap_or_default()
    }

    /// What CPUID would answer.
    pub fn dump(&self, name: &str) -> Dump {
        self.dump_of(name, &Featureset::from(&*self.features), self.about.identity.clone())
    }

    /// Its features, ready to be asked.
    pub fn unpacked(&self) -> UnpackedMachine<'_> {
        let features = Featureset::from(&*self.features);
        let (user, supervisor) = by_name::states(&features);
        UnpackedMachine { about: &self.about, features, states: user.union(supervisor) }
    }

    /// What is odd about this machine alone; the rest is that of its kin.
    pub fn own_findings(&self) -> &[Finding] {
        &self.findings
    }

    fn dump_of(&self, name: &str, features: &Featureset, identity: Identity) -> Dump {
        let mut findings = Findings::default();
        for finding in self.about.findings.iter().chain(&self.findings) {
            findings.note(finding.what.clone(), finding.line, finding.reason.clone());
        }
        let mut cpu = NamedCpu::new(Spelling::Qemu, identity);
        cpu.add_all(features);
        // Something was known when the file was read.
        let cpus = cpu.finish(0, &mut findings).into_iter().collect();
        let context = self.about.context.clone();
        let mut dump =
            Dump { name: name.to_owned(), source: self.source(), context, cpus, findings: findings.into_vec() };
        let odd = dirt::examine(&mut dump);
        dump.findings.extend(odd);
        dump
    }
}

/// A [`NamedMachine`] whose features are at hand.
#[derive(Clone, Debug)]
pub struct UnpackedMachine<'m> {
    about: &'m Arc<About>,
    features: Featureset,
    states: ComponentSet,
}

impl UnpackedMachine<'_> {
    /// The machine as the table of features sees it.
    pub fn host(&self) -> NamedHost<'_> {
        // Where there is a vendor, leaf 0 tells it; places depend on likeness, what guests see does not.
        let vendor = self.about.identity.vendor.map_or(Vendor::Unknown, |name| Vendor::of(by_name::vendor_regs(name)));
        NamedHost { features: &self.features, vendor, states: self.states }
    }

    /// What is odd about all machines of its kinship: with [`NamedMachine::own_findings`], what its dump would say.
    pub fn findings_of_kin(&self) -> Vec<Finding> {
        let About { identity, findings: known, .. } = &**self.about;
        let mut findings = Findings::default();
        if identity.physical_bits.is_none() {
            by_name::note_physical_bits(by_name::least_physical_bits(&self.features), &mut findings);
        }
        by_name::note_layout(self.states.minus(ComponentSet::LEGACY), self.about.likeness(), &mut findings);
        let mut odd = Findings::default();
        dirt::examine_offered_vendor(identity.vendor, &mut odd);
        known.iter().cloned().chain(findings.into_vec()).chain(odd.into_vec()).collect()
    }

    /// What it has in common with others, if guests see `given` on it.
    pub fn kinship(&self, given: &Featureset) -> Kinship {
        Kinship {
            about: Arc::as_ptr(self.about) as usize,
            least_physical_bits: by_name::least_physical_bits(&self.features),
            moved: by_name::moved(self.states.minus(ComponentSet::LEGACY)).bits(),
            shared_in_cr4: by_name::shared_in_cr4(&self.features),
            hidden: self.hidden(given).collect(),
        }
    }

    /// Features that guests do not see, and that show in the CR4 of VMX operation.
    fn hidden(&self, given: &Featureset) -> impl Iterator<Item = Place> {
        let is_hidden = |place: &Place| self.features.contains(*place) && !given.contains(*place);
        by_name::shown_in_cr4().iter().copied().filter(is_hidden)
    }
}

impl About {
    /// Whose CPU it is, or resembles.
    fn likeness(&self) -> Vendor {
        let named = self.identity.vendor.map(|name| Vendor::of(by_name::vendor_regs(name)));
        named.or(self.identity.likeness).unwrap_or(Vendor::Unknown)
    }
}

/// Machines of one [`Kinship`]: what is to be known of all of them to level them.
///
/// All that their default policies have follows from their features, bit by bit: two policies stand for all of them, one
/// with the features that every machine gives, one with those that any gives.
#[derive(Clone, Debug)]
pub struct Kin {
    first: NamedMachine,
    by_all: PackedFeatures,
    by_any: PackedFeatures,
    hidden: Featureset,
}

impl Kin {
    /// Begins with a machine on which guests see `given`.
    pub fn new(first: &NamedMachine, given: &PackedFeatures) -> Self {
        let hidden = first.unpacked().hidden(&Featureset::from(given)).collect();
        Self { first: first.clone(), by_all: *given, by_any: *given, hidden }
    }

    /// Adds a machine of the same kinship on which guests see `given`.
    pub fn add(&mut self, given: &PackedFeatures) {
        self.by_all.keep(given);
        self.by_any.add(given);
    }

    /// What CPUID would answer on two machines whose level is that of all.
    pub fn leaves(&self) -> [Leaves; 2] {
        let identity = &self.first.about.identity;
        // The width that features imply is that of the file's features, not only of those that guests see.
        let least = by_name::least_physical_bits(&self.first.unpacked().features);
        let identity = Identity { physical_bits: identity.physical_bits.or(Some(least)), ..identity.clone() };
        let features = |given| Featureset::from(given) | self.hidden;
        let leaves = |given| self.first.dump_of("", &features(given), identity.clone()).raw().leaves;
        [&self.by_all, &self.by_any].map(leaves)
    }
}
