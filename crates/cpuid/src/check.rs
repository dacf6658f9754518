//! Whether a guest can run on a host.

use core::fmt;

use selfsame_xstate::ComponentSet;

use crate::feature::{Offer, Relation};
use crate::finding::What;
use crate::host::Host;
use crate::leaves::Leaves;
use crate::model::{FIRST_MSR_WORD, WORDS};
use crate::place::{Place, Word};
use crate::policy::Policy;
use crate::quirk;
use crate::rebuild::{XFD_FLAG, shown_flags};
use crate::regs::Regs;
use crate::rule::Rule;
use crate::table::{self, NUMBERS, Number, NumberSlot, leaf_01};
use crate::topology::Topology;
use crate::vendor::VendorName;

/// A guest and a host of the same kind, to be held against each other.
///
/// ```
/// use selfsame_cpuid::{Check, Host, Kind, Leaves, Policy, Trims};
///
/// let host = Host::from_hardware(&Leaves::new(), Kind::Kvm, &Trims::NONE);
/// let mut guest = host.default().clone();
/// assert!(Check::new(&guest, &host).is_accepted());
///
/// guest.leaves.set(7, 0, selfsame_cpuid::Regs::new(0, 1 << 5, 0, 0))?; // AVX2
/// let check = Check::new(&guest, &host);
/// assert!(!check.is_accepted());
/// check.refusals(|refusal| assert_eq!(refusal.what.to_string(), "avx2"));
/// # Ok::<(), selfsame_cpuid::OutsideModel>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    guest: &'a Policy,
    host: &'a Host,
}

/// One side's part in a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Side {
    /// A bit.
    Bit(bool),
    /// A number.
    Number(u32),
    /// A vendor.
    Vendor(VendorName),
    /// A component's size and offset.
    Place {
        /// Bytes that it takes.
        size_bytes: u32,
        /// Bytes before it in the standard format.
        offset_bytes: u32,
    },
    /// A kind of guest.
    Kind(crate::feature::Kind),
    /// A processor tree, where there is one.
    Topology(Option<Topology>),
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bit(true) => f.write_str("yes"),
            Self::Bit(false) => f.write_str("no"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Vendor(name) => write!(f, "{name}"),
            Self::Place { size_bytes, offset_bytes } => write!(f, "{size_bytes}@{offset_bytes:#x}"),
            Self::Kind(kind) => write!(f, "{kind}"),
            Self::Topology(Some(topology)) => write!(f, "{topology}"),
            Self::Topology(None) => f.write_str("none"),
        }
    }
}

/// One reason why a guest cannot run on a host, or should not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// What it is about.
    pub what: What,
    /// The rule.
    pub rule: Rule,
    /// What the guest has.
    pub guest: Side,
    /// What the host has.
    pub host: Side,
    /// Why, as far as the table knows more than the rule says.
    pub reason: Reason,
}

impl fmt::Display for Refusal {
    /// Says what, why, and both sides unless one has a bit that the other has not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.reason)?;
        match (self.guest, self.host) {
            (Side::Bit(_), Side::Bit(_)) => Ok(()),
            (guest, host) => write!(f, " (guest: {guest}, host: {host})"),
        }
    }
}

/// Why a refusal is one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// As the rule says.
    Rule(Rule),
    /// The row of the table says why.
    Row(&'static str),
    /// A feature without a name: nobody knows that it is harmless.
    Unnamed,
    /// The host has the feature but does not give it, for want of this one.
    For(Place),
    /// The host has the feature but takes it from its guests.
    Hidden,
    /// The host gives its guests one processor tree, and it is another one.
    Topology,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Rule(rule) => f.write_str(rule.meaning()),
            Self::Row(reason) => f.write_str(reason),
            Self::Unnamed => {
                f.write_str("no manual known here names this bit, so nobody knows that the guest can do without")
            }
            Self::For(needs) => write!(f, "the host has it but lacks {}, which it needs", What::Feature(needs)),
            Self::Topology => f.write_str("a guest keeps the sockets, cores and threads that it saw when it started"),
            Self::Hidden => {
                f.write_str("the host has it but takes it from its guests (cpuid= words, or a rule for its model)")
            }
        }
    }
}

impl<'a> Check<'a> {
    /// Holds a guest's policy against a host.
    pub const fn new(guest: &'a Policy, host: &'a Host) -> Self {
        Self { guest, host }
    }

    /// Whether the guest can run on the host: there is no refusal. Does not look for findings, allocates nothing.
    pub fn is_accepted(&self) -> bool {
        let (guest, host) = (&self.guest.leaves, &self.host.max().leaves);
        self.guest.kind == self.host.kind()
            && !self.is_topology_refused()
            && denied_bits(guest, self.host.denied()) == 0
            && !misses_a_default_one(guest, host)
            && numbers_agree(guest, host)
            && states_agree(guest, host)
    }

    /// Calls `refused` for every reason why the guest cannot run on the host, in the order of places.
    pub fn refusals(&self, mut refused: impl FnMut(Refusal)) {
        let (guest, host) = (&self.guest.leaves, &self.host.max().leaves);
        if self.guest.kind != self.host.kind() {
            refused(Refusal {
                what: What::Name("kind"),
                rule: Rule::Equal,
                guest: Side::Kind(self.guest.kind),
                host: Side::Kind(self.host.kind()),
                reason: Reason::Rule(Rule::Equal),
            });
        }
        if self.is_topology_refused() {
            refused(Refusal {
                what: What::Name("topology"),
                rule: Rule::Topology,
                guest: Side::Topology(self.guest.topology),
                host: Side::Topology(self.host.max().topology),
                reason: Reason::Topology,
            });
        }
        self.refused_numbers(&mut refused);
        let vmx = guest.is_set(leaf_01::VMX);
        for word in Word::all() {
            let at = word.index();
            let mine = guest.word(word);
            let mut bits = mine & self.host.denied().get(at).copied().unwrap_or_default();
            // The answer for controls that are 1 by default lies in the low half, inverted.
            if vmx && at > FIRST_MSR_WORD && table::CONTROLS.get(at).copied().flatten().is_some() {
                let low = Word::from_index(at - 1);
                bits |= !guest.word(low) & host.word(low) & table::DEFAULT_ONE.get(at - 1).copied().unwrap_or_default();
            }
            for place in (0..32).filter(|bit| bits >> bit & 1 == 1).filter_map(|bit| Place::new(word, bit)) {
                refused(self.missing(place));
            }
        }
        self.refused_states(&mut refused);
    }

    /// Calls `found` for what the host needs and the guest does not know of. With `--strict` these are refusals.
    pub fn unsafe_here(&self, mut found: impl FnMut(Refusal)) {
        let (guest, host) = (&self.guest.leaves, &self.host.default().leaves);
        for word in Word::all() {
            let at = word.index();
            let bits = host.word(word) & !guest.word(word) & table::ANY.get(at).copied().unwrap_or_default();
            let places = (0..32).filter(|bit| bits >> bit & 1 == 1).filter_map(|bit| Place::new(word, bit));
            for place in places.filter(|place| !quirk::is_told_otherwise(*place, self.guest)) {
                let reason = table::feature_at(place).map_or(Reason::Unnamed, |row| Reason::Row(row.reason));
                let (guest, host) = (Side::Bit(false), Side::Bit(true));
                found(Refusal { what: What::Feature(place), rule: Rule::UnsafeHere, guest, host, reason });
            }
        }
    }

    /// Whether the host gives one processor tree and the guest saw another. Hardware gives any; only a host that is a policy
    /// ([`Host::from_policy`]), such as a virtual machine that waits for its state, has decided on one.
    fn is_topology_refused(&self) -> bool {
        let given = self.host.max().topology;
        given.is_some() && given != self.guest.topology
    }

    fn refused_numbers(&self, refused: &mut impl FnMut(Refusal)) {
        let (guest, host) = (&self.guest.leaves, &self.host.max().leaves);
        let mut is_vendor_refused = false;
        let is_refused = |number: &&Number| !number.accepts(guest.words()[number.word()], host.words()[number.word()]);
        for row in NUMBERS.iter().filter(is_refused).map(Number::row) {
            let is_vendor =
                row.word == table::VENDOR[0] || row.word == table::VENDOR[1] || row.word == table::VENDOR[2];
            if is_vendor && core::mem::replace(&mut is_vendor_refused, true) {
                continue;
            }
            let (mine, theirs) = (row.get(guest.word(row.word)), row.get(host.word(row.word)));
            let (what, mine, theirs) = if is_vendor {
                (What::Name("vendor"), Side::Vendor(guest.vendor_name()), Side::Vendor(host.vendor_name()))
            } else {
                (What::Value(row.name), Side::Number(mine), Side::Number(theirs))
            };
            let rule = match row.relation {
                Relation::Min => Rule::Min,
                Relation::Max => Rule::Max,
                _ => Rule::Equal,
            };
            refused(Refusal { what, rule, guest: mine, host: theirs, reason: Reason::Row(row.reason) });
        }
    }

    fn refused_states(&self, refused: &mut impl FnMut(Refusal)) {
        let (guest, host) = (&self.guest.leaves, &self.host.max().leaves);
        let user = guest.xcr0().minus(host.xcr0()).iter().map(|component| (component, Rule::NotOnHost));
        let supervisor = guest.xss().minus(host.xss()).iter().map(|component| (component, Rule::XssBeyondHost));
        for (component, rule) in user.chain(supervisor) {
            let what = What::Components(ComponentSet::EMPTY.with(component));
            let (guest, host) = (Side::Bit(true), Side::Bit(false));
            refused(Refusal { what, rule, guest, host, reason: Reason::Rule(rule) });
        }
        let states = guest.xcr0().union(guest.xss()).intersection(host.xcr0().union(host.xss()));
        for component in states.minus(ComponentSet::LEGACY) {
            let (mine, theirs) = (guest.state_row(component), host.state_row(component));
            if !is_same_row(mine, theirs, shown_flags(guest)) {
                let side = |row: Regs| Side::Place { size_bytes: row.eax, offset_bytes: row.ebx };
                refused(Refusal {
                    what: What::Components(ComponentSet::EMPTY.with(component)),
                    rule: Rule::Layout,
                    guest: side(mine),
                    host: side(theirs),
                    reason: Reason::Rule(Rule::Layout),
                });
            }
        }
    }

    /// Why the host does not give the bit at `place`.
    fn missing(&self, place: Place) -> Refusal {
        let (rule, reason) = match table::feature_at(place) {
            None => (Rule::NotOnHost, Reason::Unnamed),
            Some(row) if row.offer_to(self.host.kind()) == Offer::Never => (Rule::OfferNever, Reason::Row(row.reason)),
            Some(row) if self.host.raw().contains(place) => {
                let given = self.host.max().features();
                match row.needs.iter().find(|&&needs| !given.contains(needs)) {
                    Some(&needs) => (Rule::Prerequisite, Reason::For(needs)),
                    None => (Rule::NotOnHost, Reason::Hidden),
                }
            }
            Some(_) => (Rule::NotOnHost, Reason::Rule(Rule::NotOnHost)),
        };
        Refusal { what: What::Feature(place), rule, guest: Side::Bit(true), host: Side::Bit(false), reason }
    }
}

/// The bits of a guest that the host denies it; zero if none.
fn denied_bits(guest: &Leaves, denied: &[u32; WORDS]) -> u32 {
    guest.words().iter().zip(denied).fold(0, |found, (guest, denied)| found | guest & denied)
}

/// Whether the host's VMX must keep at 1 a control that the guest believes may be 0.
fn misses_a_default_one(guest: &Leaves, host: &Leaves) -> bool {
    let (guest_msrs, host_msrs) = (&guest.words()[FIRST_MSR_WORD..], &host.words()[FIRST_MSR_WORD..]);
    let words = guest_msrs.iter().zip(host_msrs).zip(&table::DEFAULT_ONE[FIRST_MSR_WORD..]);
    guest.is_set(leaf_01::VMX) && words.fold(0, |m, ((guest, host), one)| m | (!guest & host & one)) != 0
}

/// Whether no number of the guest is beyond the host's.
fn numbers_agree(guest: &Leaves, host: &Leaves) -> bool {
    let difference = |slot: &NumberSlot| slot.difference(guest, host);
    let accepts = |number: &Number| number.accepts(guest.words()[number.word()], host.words()[number.word()]);
    let agrees = |slot: &NumberSlot| difference(slot) == [0; 4] || slot.numbers().iter().all(accepts);
    // Most agree: one branch for several of them.
    table::NUMBER_SLOTS.chunks(8).all(|several| {
        let mut different = [0; 4];
        for slot in several {
            let difference = difference(slot);
            different = core::array::from_fn(|i| different[i] | difference[i]);
        }
        different == [0; 4] || several.iter().all(agrees)
    })
}

/// Whether every component of the guest is on the host, where the guest believes it.
fn states_agree(guest: &Leaves, host: &Leaves) -> bool {
    let states = guest.xcr0().union(guest.xss());
    let flags = shown_flags(guest);
    guest.xcr0().is_subset_of(host.xcr0())
        && guest.xss().is_subset_of(host.xss())
        && states
            .minus(ComponentSet::LEGACY)
            .iter()
            .all(|component| is_same_row(guest.state_row(component), host.state_row(component), flags))
}

/// Whether two rows of leaf 0xD describe the same place: size, offset and class, the alignment where the guest is shown
/// compaction, and XFD as far as the guest may use it.
const fn is_same_row(guest: Regs, host: Regs, flags: u32) -> bool {
    let different = guest.ecx ^ host.ecx;
    let is_xfd_missing = guest.ecx & !host.ecx & flags & XFD_FLAG != 0;
    guest.eax == host.eax && guest.ebx == host.ebx && different & flags & !XFD_FLAG == 0 && !is_xfd_missing
}
