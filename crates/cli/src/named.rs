//! Hosts of which a file names features: a fleet has thousands, and what many of them have in common is kept once.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use selfsame_cpuid::{Finding as Oddity, PackedFeatures, Place};
use selfsame_formats::{Kinship, NamedMachine, UnpackedMachine};

use crate::finding::Finding;
use crate::host::{cpu_text, vendor_text};
use crate::problem::printable;

/// Most hosts have fewer findings.
const FEW_FINDINGS: usize = 16;

/// A host of which a file names features.
#[derive(Debug)]
pub(crate) struct Named {
    /// What the file says.
    pub(crate) machine: NamedMachine,
    /// What a new guest sees there.
    pub(crate) given: Box<PackedFeatures>,
    /// What it has in common with others.
    pub(crate) kin: Rc<CommonToKin>,
}

/// What hosts have in common of which all but the features is the same.
#[derive(Debug)]
pub(crate) struct CommonToKin {
    /// What else is known, as KEY=VALUE.
    pub(crate) context: Rc<[String]>,
    /// What is odd about their data.
    pub(crate) findings: Rc<[Rc<Finding>]>,
    /// What their CPU is called.
    pub(crate) cpu: Rc<str>,
}

/// What was common to hosts of a file, as far as it was read.
#[derive(Debug, Default)]
pub(crate) struct Kindred {
    kin: HashMap<Kinship, Rc<CommonToKin>>,
    /// Features that stand without others which they need.
    orphans: BTreeMap<(Place, Place), Rc<Finding>>,
}

impl Kindred {
    /// Takes a host, with what is odd about it alone.
    pub(crate) fn take(&mut self, machine: NamedMachine) -> (Named, Box<[Rc<Finding>]>) {
        let mut findings: Vec<Rc<Finding>> = Vec::with_capacity(FEW_FINDINGS);
        findings.extend(machine.own_findings().iter().map(|finding| Rc::new(Finding::of_dump(finding))));
        let unpacked = machine.unpacked();
        let host = unpacked.host();
        host.examine(|oddity| findings.push(self.finding(oddity)));
        let given = host.default_features();
        let kin = self.kin.entry(unpacked.kinship(&given));
        let kin = Rc::clone(kin.or_insert_with(|| Rc::new(CommonToKin::of(&machine, &unpacked))));
        let named = Named { given: Box::new(PackedFeatures::from(&given)), kin, machine };
        (named, findings.into())
    }

    fn finding(&mut self, oddity: Oddity) -> Rc<Finding> {
        let Oddity::Orphan { feature, needs } = oddity else { return Rc::new(Finding::of_leaves(oddity)) };
        let known = self.orphans.entry((feature, needs));
        Rc::clone(known.or_insert_with(|| Rc::new(Finding::of_leaves(oddity))))
    }
}

impl CommonToKin {
    fn of(machine: &NamedMachine, unpacked: &UnpackedMachine<'_>) -> Self {
        let findings = unpacked.findings_of_kin();
        let model = machine.context().iter().find(|(key, _)| key == "model").map(|(_, model)| printable(model));
        Self {
            context: context(machine.context()),
            findings: findings.iter().map(|finding| Rc::new(Finding::of_dump(finding))).collect(),
            cpu: cpu_text(model.as_deref(), &vendor_text(&machine.vendor_bytes()), machine.signature()),
        }
    }
}

/// Keys and values as people read them.
pub(crate) fn context(pairs: &[(String, String)]) -> Rc<[String]> {
    pairs.iter().map(|(key, value)| printable(&format!("{key}={value}"))).collect()
}
