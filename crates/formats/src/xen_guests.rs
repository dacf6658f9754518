//! Whose features each of Xen's sets has.

use selfsame_cpuid::Kind;

/// Guests to whom Xen offers one set of features.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum XenGuests {
    /// HVM and PVH guests. Where the CPU has hardware-assisted paging the set is that of guests that use it, and has more
    /// than those on shadow page tables get (Xen, `recalculate_cpuid_policy`).
    Hvm,
    /// PV guests.
    Pv,
    /// Guests of a kind that nobody said: whoever asks for one of Xen's kinds says it.
    Unsaid,
}

impl XenGuests {
    /// Whether guests of a kind are among them.
    pub const fn include(self, kind: Kind) -> bool {
        match self {
            Self::Hvm => matches!(kind, Kind::Hvm),
            Self::Pv => matches!(kind, Kind::Pv),
            Self::Unsaid => kind.is_xen(),
        }
    }

    /// The word of a capture's context for them.
    pub(crate) const fn word(self) -> Option<&'static str> {
        match self {
            Self::Hvm => Some("hvm"),
            Self::Pv => Some("pv"),
            Self::Unsaid => None,
        }
    }

    /// Those of a label in lower case; none where it is that of the hardware.
    pub(crate) fn of_label(label: &str) -> Option<Self> {
        let has = |word| label.split([' ', '_']).any(|part| part == word);
        match label {
            "raw" | "host" | "features" => None,
            _ if has("hvm") => Some(Self::Hvm),
            _ if has("pv") => Some(Self::Pv),
            _ => Some(Self::Unsaid),
        }
    }
}

/// How early a set of a file is taken for guests of a kind: what tells of them, or of the hardware, goes before what tells of
/// other guests; then the order of labels decides.
pub(crate) fn rank(label: &str, order: &[&str], kind: Option<Kind>) -> (bool, usize) {
    let is_for_others = kind.zip(XenGuests::of_label(label)).is_some_and(|(kind, guests)| !guests.include(kind));
    (is_for_others, order.iter().position(|known| *known == label).unwrap_or(order.len()))
}

#[test]
fn a_label_tells_whose_features_they_are() {
    for (label, guests) in [
        ("raw", None),
        ("host", None),
        ("features", None),
        ("hvm max", Some(XenGuests::Hvm)),
        ("features_hvm_host", Some(XenGuests::Hvm)),
        ("pv default", Some(XenGuests::Pv)),
        ("features_pv", Some(XenGuests::Pv)),
        ("domain 7", Some(XenGuests::Unsaid)),
        ("", Some(XenGuests::Unsaid)),
    ] {
        assert_eq!(XenGuests::of_label(label), guests, "{label}");
    }
}
