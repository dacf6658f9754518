//! The closed list of rules by which something is refused or lost.

use core::fmt;

/// Why something is refused, lost or worth knowing. The list is closed: programs may match on the names.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Rule {
    /// The host lacks it.
    NotOnHost,
    /// Something that it needs is missing.
    Prerequisite,
    /// The hypervisor never gives it to this kind of guest.
    OfferNever,
    /// The hypervisor gives it to this kind of guest only on request.
    OfferRequest,
    /// The guest has more than the host.
    Min,
    /// The guest has less than the host.
    Max,
    /// Two that must agree differ.
    Equal,
    /// The guest may set a supervisor component that the host does not switch.
    XssBeyondHost,
    /// Save areas are laid out in different ways, or contradict the features.
    Layout,
    /// The processor tree contradicts the leaves, or is not the one that the host gives.
    Topology,
    /// The guest believes itself safe from something that this host is not safe from.
    UnsafeHere,
    /// The input contradicts itself or its format.
    Malformed,
}

impl Rule {
    /// The whole list.
    pub const ALL: [Self; 12] = [
        Self::NotOnHost,
        Self::Prerequisite,
        Self::OfferNever,
        Self::OfferRequest,
        Self::Min,
        Self::Max,
        Self::Equal,
        Self::XssBeyondHost,
        Self::Layout,
        Self::Topology,
        Self::UnsafeHere,
        Self::Malformed,
    ];

    /// The rule's name in JSON and on the terminal.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotOnHost => "not-on-host",
            Self::Prerequisite => "prerequisite",
            Self::OfferNever => "offer-never",
            Self::OfferRequest => "offer-request",
            Self::Min => "min",
            Self::Max => "max",
            Self::Equal => "equal",
            Self::XssBeyondHost => "xss-beyond-host",
            Self::Layout => "layout",
            Self::Topology => "topology",
            Self::UnsafeHere => "unsafe-here",
            Self::Malformed => "malformed",
        }
    }

    /// One sentence that says what the rule means.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::NotOnHost => "the guest has a feature that the host lacks: it would fault on first use",
            Self::Prerequisite => "a feature is there without another that it needs, so it means nothing",
            Self::OfferNever => "the hypervisor never gives this feature to this kind of guest, whatever the host has",
            Self::OfferRequest => "the hypervisor gives this feature only when it is asked for by name",
            Self::Min => {
                "a number that must not be greater in the guest than on the host is (maxphysaddr, counters, versions)"
            }
            Self::Max => "a number that must not be less in the guest than on the host is",
            Self::Equal => "two values that must agree differ (vendor, CLFLUSH size)",
            Self::XssBeyondHost => "the guest may set a supervisor state that the host's hypervisor does not save",
            Self::Layout => "save areas have different offsets or sizes, or leaf 0xD contradicts the features",
            Self::Topology => {
                "sockets, cores and threads contradict the leaves that show them, or are not those of the host"
            }
            Self::UnsafeHere => "the host needs a mitigation or warning that the guest does not know of",
            Self::Malformed => "the input contradicts itself or the rules of its format",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
