//! Named models of CPUs: what QEMU, libvirt and the x86-64 ABI mean by `Skylake-Server-v4`, `EPYC-IBPB` or
//! `x86-64-v3`.
//!
//! The tables hold public facts: QEMU 10.2's and libvirt's models, a row each, as what it differs in from another one.
//! [`Models::read_cpu_map`] takes libvirt's own files instead.

mod amd;
mod generic;
mod intel;
mod row;

use std::collections::BTreeMap;
use std::sync::{LazyLock, OnceLock};

use selfsame_cpuid::{Featureset, Place, Signature, Vendor, WordSource};

use row::ModelRow;

use crate::nearest_name::NearestNames;
use crate::spelling::qemu_feature;

/// A named model of a CPU.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// The vendor's twelve bytes, for which its features were chosen; none for levels of an ABI.
    pub vendor: Option<[u8; 12]>,
    /// Family, model and stepping that a guest sees.
    pub signature: Option<Signature>,
    /// Its features as libvirt's `<cpu>` means the name. VMX controls count where the guest has VMX.
    pub features: Featureset,
    /// VMX controls that are the model's for QEMU, while libvirt names each of those that a CPU has beside the model.
    pub vmx_apart: Featureset,
    /// Its features as QEMU's `-cpu` means the name, with its VMX controls.
    pub qemu_features: Featureset,
    /// Names of features that its definition has and nobody knows here.
    pub unknown: Vec<String>,
}

impl Model {
    /// The vendor, as far as names and places depend on it.
    pub fn vendor(&self) -> Vendor {
        self.vendor.map_or(Vendor::Unknown, |name| Vendor::of(crate::by_name::vendor_regs(name)))
    }
}

/// Named models, by every name that they have.
///
/// ```
/// use selfsame_cpuid::feature;
/// use selfsame_formats::Models;
///
/// let rome = Models::known().get("EPYC-Rome-v2").unwrap();
/// assert!(rome.features.contains(feature("ibrs").unwrap().place));
/// assert_eq!(Models::known().get("Haswell-v4"), Models::known().get("Haswell-noTSX-IBRS"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Models {
    models: Vec<Model>,
    by_name: BTreeMap<String, usize>,
    /// Features that only the map itself names.
    features: BTreeMap<String, Place>,
    /// Short names of vendors, as `<vendor>` has them.
    vendors: BTreeMap<String, [u8; 12]>,
    /// All names, once somebody has asked for the nearest to one that no model has.
    nearest: OnceLock<NearestNames>,
}

impl Models {
    /// The models that this crate knows.
    pub fn known() -> &'static Self {
        static KNOWN: LazyLock<Models> = LazyLock::new(|| {
            let mut models = Models::default();
            for (name, bytes) in VENDORS {
                models.add_vendor(name, bytes);
            }
            for row in generic::ROWS.iter().chain(&intel::ROWS).chain(&amd::ROWS) {
                models.add_row(row);
            }
            models
        });
        &KNOWN
    }

    /// The model of a name.
    pub fn get(&self, name: &str) -> Option<&Model> {
        self.models.get(*self.by_name.get(name)?)
    }

    /// All names with their models, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Model)> {
        self.by_name.iter().filter_map(|(name, &at)| Some((&**name, self.models.get(at)?)))
    }

    /// The name that is nearest to one that no model has.
    pub fn suggestion(&self, name: &str) -> Option<&str> {
        self.nearest.get_or_init(|| NearestNames::of(self.by_name.keys().map(String::as_str))).find(name)
    }

    /// Adds the models of `other` whose names these do not have.
    #[must_use]
    pub fn beside(mut self, other: &Self) -> Self {
        self.nearest.take();
        for (name, model) in other.iter() {
            if !self.by_name.contains_key(name) {
                let at = self.models.len();
                self.by_name.insert(name.to_owned(), at);
                self.models.push(model.clone());
            }
        }
        for (name, place) in &other.features {
            self.features.entry(name.clone()).or_insert(*place);
        }
        for (name, bytes) in &other.vendors {
            self.vendors.entry(name.clone()).or_insert(*bytes);
        }
        self
    }

    /// The twelve bytes of a vendor that libvirt calls `name`.
    pub fn vendor(&self, name: &str) -> Option<[u8; 12]> {
        self.vendors.get(name).copied()
    }

    /// The place of a feature that only libvirt's map names.
    pub(crate) fn feature(&self, name: &str) -> Option<Place> {
        self.features.get(name).copied()
    }

    pub(crate) fn add_feature(&mut self, name: &str, place: Place) {
        self.features.insert(name.to_owned(), place);
    }

    pub(crate) fn add_vendor(&mut self, name: &str, bytes: [u8; 12]) {
        self.vendors.insert(name.to_owned(), bytes);
    }

    /// Adds a model under its name and others.
    pub(crate) fn add(&mut self, model: Model, also: &[&str]) {
        let at = self.models.len();
        for name in also.iter().copied().chain([&*model.name]) {
            self.by_name.insert(name.to_owned(), at);
        }
        self.models.push(model);
        self.nearest.take();
    }

    fn add_row(&mut self, row: &ModelRow) {
        let base = row.like.and_then(|name| self.get(name));
        let (vendor, signature) = base.map(|base| (base.vendor, base.signature)).unwrap_or_default();
        let all = base.map_or(Featureset::EMPTY, |base| base.features | base.vmx_apart);
        let all = (all | places(row.with)) - places(row.without);
        let vmx: Featureset = all.iter().filter(|place| row.is_vmx_apart && is_vmx(*place)).collect();
        let model = Model {
            name: row.name.to_owned(),
            vendor: row.vendor.or(vendor),
            signature: row.signature.or(signature),
            features: all - vmx,
            vmx_apart: vmx,
            qemu_features: (all | places(row.qemu_has)) - places(row.qemu_lacks),
            unknown: Vec::new(),
        };
        self.add(model, row.also);
    }
}

/// libvirt's names of vendors (src/cpu_map/x86_vendors.xml), and those of the vendors that it does not know yet.
const VENDORS: [(&str, [u8; 12]); 5] = [
    ("AMD", row::AMD),
    ("Centaur", row::CENTAUR),
    ("Hygon", row::HYGON),
    ("Intel", row::INTEL),
    ("Shanghai", *b"  Shanghai  "),
];

fn places(names: &str) -> Featureset {
    names.split_ascii_whitespace().filter_map(qemu_feature).map(|row| row.place).collect()
}

/// Whether a bit tells of nested VMX: it is in one of its MSRs.
pub(crate) fn is_vmx(place: Place) -> bool {
    matches!(place.word().source(), WordSource::Msr { index: 0x480..=0x493, .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfsame_cpuid::feature;
    use std::collections::BTreeSet;

    fn rows() -> impl Iterator<Item = &'static ModelRow> {
        generic::ROWS.iter().chain(&intel::ROWS).chain(&amd::ROWS)
    }

    #[test]
    fn every_row_names_features_by_their_canonical_names_and_says_nothing_twice() {
        for row in rows() {
            let base = row.like.map(|name| Models::known().get(name).unwrap());
            let base = base.map_or(Featureset::EMPTY, |base| base.features | base.vmx_apart);
            let all = (base | places(row.with)) - places(row.without);
            let lists = [
                (row.with, base, false),
                (row.without, base, true),
                (row.qemu_has, all, false),
                (row.qemu_lacks, all, true),
            ];
            for (names, base, is_there) in lists {
                for name in names.split(' ').filter(|name| !name.is_empty()) {
                    let known = feature(name).unwrap_or_else(|| panic!("{}: {name}", row.name));
                    assert_eq!(known.name, name);
                    assert_eq!(base.contains(known.place), is_there, "{}: {name}", row.name);
                }
            }
        }
    }

    #[test]
    fn every_row_stands_after_the_one_that_it_is_like_and_no_name_is_given_twice() {
        let mut names = BTreeSet::new();
        for row in rows() {
            assert!(row.like.is_none_or(|like| names.contains(like)), "{}", row.name);
            for name in row.also.iter().chain([&row.name]) {
                assert!(names.insert(*name), "{name}");
            }
        }
        assert_eq!(names.len(), Models::known().iter().count());
    }

    #[test]
    fn a_name_that_no_model_has_is_answered_with_the_nearest() {
        assert_eq!(Models::known().suggestion("skylake-server-v44"), Some("Skylake-Server-v4"));
        assert_eq!(Models::known().suggestion("Bogus"), None);
    }
}
