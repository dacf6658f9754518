//! What a row of the feature table says: names, relation, offers, prerequisites, components, and why.

use core::fmt;
use core::str::FromStr;

use selfsame_xstate::ComponentSet;

use crate::place::Place;

/// The kind of guest that a policy is for. Hypervisors of the same kind offer the same features in the same way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Kind {
    /// A guest of Linux KVM with two-dimensional paging, under any VMM.
    #[default]
    Kvm,
    /// A Xen HVM or PVH guest with hardware-assisted paging.
    Hvm,
    /// A Xen HVM guest on shadow page tables.
    HvmShadow,
    /// A Xen PV guest.
    Pv,
}

impl Kind {
    /// All kinds, in the order of a row's offers.
    pub const ALL: [Self; 4] = [Self::Kvm, Self::Hvm, Self::HvmShadow, Self::Pv];

    /// The kind's name in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Hvm => "hvm",
            Self::HvmShadow => "hvm-shadow",
            Self::Pv => "pv",
        }
    }

    /// Whether Xen runs it.
    pub const fn is_xen(self) -> bool {
        !matches!(self, Self::Kvm)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no [`Kind`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a kind of guest: expected kvm, hvm, hvm-shadow or pv")]
pub struct KindError;

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(text: &str) -> Result<Self, KindError> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(KindError)
    }
}

/// How the values of several hosts combine, and what a check of a guest against a host refuses.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Relation {
    /// All hosts must have it: levels by AND; refused where the guest has it and the host's maximum has not.
    All,
    /// One host is enough: levels by OR as far as the offer needs no hardware ([`Offer::Anywhere`],
    /// [`Offer::Made`]); a guest is never refused for it.
    Any,
    /// Levels to the least; refused where the guest's is greater than the host's.
    Min,
    /// Levels to the greatest; refused where the guest's is less than the host's, unless it is zero, which says nothing.
    Max,
    /// Hosts must agree, else there is no level; refused where it differs. Zero says nothing, and agrees with all.
    Equal,
    /// Rebuilt from the rest of the policy; never refused.
    Derived,
    /// Taken whole from the first host, in name order, that has it; never refused.
    Descriptive,
    /// Answered at the exit from the state of the vCPU; never refused.
    Dynamic,
    /// Belongs to one machine: not levelled, zero in a policy; never refused.
    Local,
}

impl Relation {
    /// The relation's name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Any => "any",
            Self::Min => "min",
            Self::Max => "max",
            Self::Equal => "equal",
            Self::Derived => "derived",
            Self::Descriptive => "descriptive",
            Self::Dynamic => "dynamic",
            Self::Local => "local",
        }
    }
}

/// Whether a hypervisor gives a feature to guests of one kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Offer {
    /// Where the host has it.
    Hardware,
    /// On every host: the hypervisor makes it.
    Made,
    /// May be set on every host because it is harmless without hardware; by default as the host has it.
    Anywhere,
    /// Where the host has it, and only on request.
    Request,
    /// Never.
    Never,
}

impl Offer {
    /// The offer's name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hardware => "hardware",
            Self::Made => "made",
            Self::Anywhere => "anywhere",
            Self::Request => "request",
            Self::Never => "never",
        }
    }
}

/// One row of the feature table: a bit that has a name.
///
/// A row starts as [`Relation::All`], offered to nobody; the methods of its construction say the rest.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Where the bit is.
    pub place: Place,
    /// The one name that is printed.
    pub name: &'static str,
    /// Other names that are accepted.
    pub aliases: &'static [&'static str],
    /// The name in `/proc/cpuinfo`, or empty.
    pub linux: &'static str,
    /// The name in Xen's public header, or empty.
    pub xen: &'static str,
    /// How hosts combine.
    pub relation: Relation,
    /// The offer per kind, in the order of [`Kind::ALL`].
    pub offers: [Offer; 4],
    /// Features without which this one means nothing: all of them are needed.
    pub needs: &'static [Place],
    /// The extended state that the feature uses.
    pub components: ComponentSet,
    /// Whether it is a VMX control that is 1 unless the CPU says that it may be 0: its answer lies in the MSR's low half, inverted.
    pub is_default_one: bool,
    /// Why the relation and the offers are what they are.
    pub reason: &'static str,
    /// Where the manual defines the bit.
    pub source: &'static str,
}

/// Starts a row of the table.
pub(crate) const fn row(place: Place, name: &'static str) -> Feature {
    Feature {
        place,
        name,
        aliases: &[],
        linux: "",
        xen: "",
        relation: Relation::All,
        offers: [Offer::Never; 4],
        needs: &[],
        components: ComponentSet::EMPTY,
        is_default_one: false,
        reason: "",
        source: "",
    }
}

impl Feature {
    pub(crate) const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    pub(crate) const fn linux(mut self, name: &'static str) -> Self {
        self.linux = name;
        self
    }

    pub(crate) const fn xen(mut self, name: &'static str) -> Self {
        self.xen = name;
        self
    }

    pub(crate) const fn relation(mut self, relation: Relation) -> Self {
        self.relation = relation;
        self
    }

    /// The offers to kvm, hvm, hvm-shadow and pv.
    pub(crate) const fn offer(mut self, kvm: Offer, hvm: Offer, hvm_shadow: Offer, pv: Offer) -> Self {
        self.offers = [kvm, hvm, hvm_shadow, pv];
        self
    }

    pub(crate) const fn needs(mut self, needs: &'static [Place]) -> Self {
        self.needs = needs;
        self
    }

    pub(crate) const fn components(mut self, components: ComponentSet) -> Self {
        self.components = components;
        self
    }

    pub(crate) const fn default_one(mut self) -> Self {
        self.is_default_one = true;
        self
    }

    pub(crate) const fn because(mut self, reason: &'static str, source: &'static str) -> Self {
        self.reason = reason;
        self.source = source;
        self
    }

    /// The offer to guests of `kind`.
    pub const fn offer_to(&self, kind: Kind) -> Offer {
        self.offers[kind as usize]
    }
}
