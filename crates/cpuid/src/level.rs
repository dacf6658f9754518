//! Levelling: the CPU that a guest can be given on all hosts of a pool.

use core::error::Error;
use core::fmt;
use core::ops::Range;

use selfsame_xstate::{Component, ComponentSet};

use crate::closure::close;
use crate::feature::Kind;
use crate::finding::What;
use crate::leaves::Leaves;
use crate::model::{self, FIRST_KEPT};
use crate::policy::Policy;
use crate::quirk;
use crate::rebuild::{Floor, XFD_FLAG, rebuild, shown_flags};
use crate::regs::Regs;
use crate::rule::Rule;
use crate::table::{self, NUMBERS, leaf_01, plan_of};
use crate::topology::Topology;
use crate::topology_leaves;
use crate::value::Value;
use crate::vendor::Signature;

/// Leaves that describe, in groups each taken whole from one host: their slots.
static DESCRIPTIVE: [Range<usize>; 6] = [
    kept(0x2, 0x2),
    kept(0x4, 0x4),
    kept(0x8000_0002, 0x8000_0004),
    kept(0x8000_0005, 0x8000_0006),
    kept(0x8000_0019, 0x8000_0019),
    kept(0x8000_001d, 0x8000_001d),
];

/// The slot of leaf 0x40000000: the hypervisor's name and its highest leaf.
const HYPERVISOR: usize = match model::slot(0x4000_0000, 0) {
    Some(slot) => slot,
    None => unreachable!(),
};

/// The slots of the leaves from `first` to `last`, none of which holds a compared subleaf.
const fn kept(first: u32, last: u32) -> Range<usize> {
    let (Some(start), Some(mut end)) = (model::slot(first, 0), model::slot(last, 0)) else { unreachable!() };
    let mut subleaf = 1;
    while let (Some(true), Some(slot)) = (model::indexing(last), model::slot(last, subleaf)) {
        end = slot;
        subleaf += 1;
    }
    assert!(start >= FIRST_KEPT && start <= end);
    start..end + 1
}

/// Folds default policies, one after another, into the level of their hosts.
///
/// Fixed in size: nothing is allocated, however many hosts there are. The order of hosts does not matter.
///
/// ```
/// use selfsame_cpuid::{Kind, Leveller, Policy, Regs};
///
/// let mut a = Policy::empty(Kind::Kvm);
/// a.leaves.set(0, 0, Regs::new(1, 0x756e_6547, 0x6c65_746e, 0x4965_6e69))?;
/// let mut leveller = Leveller::new(Kind::Kvm);
/// leveller.add("a", &a);
/// leveller.add("b", &a);
/// assert!(leveller.finish().is_ok());
/// # Ok::<(), selfsame_cpuid::OutsideModel>(())
/// ```
#[derive(Clone, Debug)]
pub struct Leveller<'a> {
    kind: Kind,
    count: usize,
    leaves: Leaves,
    described_by: [Option<&'a str>; DESCRIPTIVE.len()],
    topology: Option<Topology>,
    disagreement: Disagreement,
    floor: Floor,
    /// The flags of leaf 0xD's rows that some host showed.
    shown_flags: u32,
}

/// What the hosts of a pool must agree on and do not.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Disagreement {
    values: u64,
    states: ComponentSet,
    do_topologies_differ: bool,
    is_empty: bool,
}

impl Disagreement {
    /// What the hosts disagree on: the subject and its rule. An empty pool has nothing to agree on and no level.
    pub fn iter(&self) -> impl Iterator<Item = (What, Rule)> + '_ {
        let values = self.values().map(|row| (What::Value(row.name), Rule::Equal));
        let states = self.states.iter().map(|c| (What::Components(ComponentSet::EMPTY.with(c)), Rule::Layout));
        let empty = self.is_empty.then_some((What::Name("hosts"), Rule::Malformed));
        let topology = self.do_topologies_differ.then_some((What::Name("topology"), Rule::Topology));
        values.chain(states).chain(topology).chain(empty)
    }

    /// The values on which the hosts disagree.
    pub fn values(&self) -> impl Iterator<Item = &'static Value> + '_ {
        NUMBERS.iter().enumerate().filter(|(i, _)| self.values >> i & 1 == 1).map(|(_, number)| number.row())
    }

    /// Whether some hosts are policies with different topologies.
    pub const fn do_topologies_differ(&self) -> bool {
        self.do_topologies_differ
    }

    /// The state components that lie in different places.
    pub const fn states(&self) -> ComponentSet {
        self.states
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty {
            return f.write_str("there are no hosts");
        }
        f.write_str("the hosts disagree on ")?;
        self.iter().enumerate().try_for_each(|(i, (what, _))| {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{what}")
        })
    }
}

impl Error for Disagreement {}

const _: () = assert!(NUMBERS.len() <= 64);

/// Which of [`NUMBERS`] is the size of CLFLUSH's lines, which says nothing without CLFLUSH.
const CLFLUSH_SIZE: u64 = {
    let (mut bit, mut i) = (0, 0);
    while i < NUMBERS.len() {
        if NUMBERS[i].word() == leaf_01::CLFLUSH_SIZE.index() {
            bit |= 1 << i;
        }
        i += 1;
    }
    bit
};

impl<'a> Leveller<'a> {
    /// Begins a level for guests of `kind`.
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            count: 0,
            leaves: Leaves::new(),
            described_by: [None; DESCRIPTIVE.len()],
            topology: None,
            disagreement: Disagreement {
                values: 0,
                states: ComponentSet::EMPTY,
                do_topologies_differ: false,
                is_empty: false,
            },
            floor: Floor { basic: 0, leaf_7: 0, extended: 0 },
            shown_flags: 0,
        }
    }

    /// Keeps the level's highest leaves from falling below what a running guest saw.
    pub fn keep_leaves_of(&mut self, running: &Policy) {
        self.floor = self.floor.max(Floor::of(&running.leaves));
    }

    /// Adds a host by its name and its default policy.
    pub fn add(&mut self, name: &'a str, host: &Policy) {
        if self.count == 0 {
            self.leaves.words_mut().copy_from_slice(host.leaves.words());
            self.leaves.set_slot(HYPERVISOR, host.leaves.slot(HYPERVISOR));
        } else {
            self.fold_words(&host.leaves);
        }
        // Hardware gives any topology; a host that is a policy with one takes no guest with another.
        self.disagreement.do_topologies_differ |=
            self.topology.is_some_and(|mine| host.topology.is_some_and(|theirs| mine != theirs));
        self.topology = self.topology.or(host.topology);
        self.fold_hypervisor(&host.leaves);
        self.fold_states(&host.leaves);
        self.fold_descriptions(name, &host.leaves);
        self.count += 1;
    }

    fn fold_words(&mut self, host: &Leaves) {
        let signatures = [self.leaves.word(table::SIGNATURE), host.word(table::SIGNATURE)];
        for (i, number) in NUMBERS.iter().enumerate() {
            let (mine, theirs) = (&mut self.leaves.words_mut()[number.word()], host.words()[number.word()]);
            if *mine != theirs {
                let (combined, do_agree) = number.combine(*mine, theirs);
                *mine = combined;
                self.disagreement.values |= u64::from(!do_agree) << i;
            }
        }
        let plan = plan_of(self.kind);
        let words = self.leaves.words_mut().iter_mut().zip(host.words());
        for ((mine, theirs), (and, or)) in words.zip(plan.and.iter().zip(&plan.or)) {
            *mine = (*mine & (theirs | !and)) | (theirs & or);
        }
        if signatures[0] != signatures[1] {
            *self.leaves.word_mut(table::SIGNATURE) = Signature::least(signatures);
        }
    }

    /// A guest is told of one hypervisor, and of no more leaves than the least of the hosts has.
    fn fold_hypervisor(&mut self, host: &Leaves) {
        let (mine, theirs) = (self.leaves.slot(HYPERVISOR), host.slot(HYPERVISOR));
        let is_same = (mine.ebx, mine.ecx, mine.edx) == (theirs.ebx, theirs.ecx, theirs.edx);
        let both = if is_same { Regs { eax: mine.eax.min(theirs.eax), ..mine } } else { Regs::ZERO };
        self.leaves.set_slot(HYPERVISOR, both);
    }

    /// Keeps the row of each component that any host has. Rows must agree in all that places the component and all that
    /// follows it; what a row says of compaction and XFD is shown only with those features.
    fn fold_states(&mut self, host: &Leaves) {
        for component in host.xcr0().union(host.xss()).minus(ComponentSet::LEGACY) {
            let (mine, theirs) = (self.leaves.state_row(component), host.state_row(component));
            let are_shown = self.shown_flags & shown_flags(host);
            if mine.eax == 0 {
                self.leaves.set_state_row(component, theirs);
            } else if theirs.eax != 0 {
                let is_same = (mine.eax, mine.ebx) == (theirs.eax, theirs.ebx);
                if !is_same || (mine.ecx ^ theirs.ecx) & are_shown & !XFD_FLAG != 0 {
                    self.disagreement.states.insert(component);
                }
                // XFD of a component must be there on all hosts that show XFD.
                let without_xfd = XFD_FLAG & are_shown & !(mine.ecx & theirs.ecx);
                let ecx = (mine.ecx | theirs.ecx) & !without_xfd;
                self.leaves.set_state_row(component, Regs { ecx, ..mine });
            }
        }
        self.shown_flags |= shown_flags(host);
    }

    fn fold_descriptions(&mut self, name: &'a str, host: &Leaves) {
        for (range, described_by) in DESCRIPTIVE.iter().zip(&mut self.described_by) {
            if described_by.is_some_and(|by| by < name) {
                continue;
            }
            let (mine, theirs) = (&mut self.leaves.slots[range.clone()], &host.slots[range.clone()]);
            let is_there = theirs.iter().any(|registers| *registers != [0; 4]);
            let is_tie = *described_by == Some(name);
            if is_there && (!is_tie || *theirs < *mine) {
                mine.copy_from_slice(theirs);
                *described_by = Some(name);
            }
        }
    }

    /// Ends the level: closes it under prerequisites and rebuilds what follows.
    ///
    /// # Errors
    ///
    /// The hosts disagree on something that they must agree on, or there is none.
    pub fn finish(mut self) -> Result<Policy, Disagreement> {
        self.disagreement.is_empty = self.count == 0;
        // States that no feature of the level uses may lie where they like.
        let mut set = self.leaves.features();
        let is_unsafe = quirk::is_rsba_known(&set);
        // The rows are those of all hosts: XCR0 and XSS of the geometry must name them all.
        let geometry = {
            let mut all = self.leaves.clone();
            rebuild_enumeration(&mut all);
            all.geometry()
        };
        close(&mut set, geometry.components().union(ComponentSet::LEGACY));
        quirk::settle_rsba(is_unsafe, self.kind, &mut set);
        let used = crate::closure::states_of(&set);
        if !set.contains(leaf_01::CLFLUSH) {
            self.disagreement.values &= !CLFLUSH_SIZE;
        }
        self.disagreement.states = self.disagreement.states.intersection(used);
        if self.disagreement != Disagreement::default() {
            return Err(self.disagreement);
        }
        topology_leaves::clear(&mut self.leaves);
        rebuild(&mut self.leaves, &set, &geometry, self.floor);
        let mut level = Policy { kind: self.kind, topology: None, leaves: self.leaves };
        if self.topology.is_some() {
            level.set_topology(self.topology);
        }
        Ok(level)
    }
}

/// Makes leaf 0xD enumerate every component that has a row.
fn rebuild_enumeration(leaves: &mut Leaves) {
    let rows = (2..=62).filter_map(Component::new).map(|component| (component, leaves.state_row(component)));
    let rows = rows.filter(|(_, row)| row.eax != 0);
    let (mut user, mut supervisor) = (ComponentSet::LEGACY, ComponentSet::EMPTY);
    for (component, row) in rows {
        if row.ecx & 1 == 1 {
            supervisor.insert(component);
        } else {
            user.insert(component);
        }
    }
    leaves.set_states(user, supervisor);
}
