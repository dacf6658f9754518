//! The ledger: every privileged write and read of a CPU, so that a test can count them and find the needless ones.

use alloc::vec::Vec;

/// What was written, read or flushed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum What {
    /// XSETBV of XCR0.
    Xcr0,
    /// WRMSR.
    Msr(u32),
    /// RDMSR.
    Rdmsr(u32),
    /// CR0.TS, by CLTS or MOV to CR0.
    TaskSwitched,
    /// MOV to CR3.
    Cr3,
    /// MOV to CR4.
    Cr4,
    /// MOV to DR0 to DR3, DR6 or DR7.
    Debug(u8),
    /// WRPKRU.
    Pkru,
    /// LGDT: base in the low 48 bits, limit above.
    Gdtr,
    /// LLDT: the selector.
    Ldtr,
    /// A load of DS, ES, FS or GS: the selector.
    Selector(Selector),
    /// WRFSBASE, WRGSBASE: the base.
    Base(Selector),
    /// A write of an L1 entry: the entry.
    L1Entry,
    /// A write into a descriptor table.
    Descriptor,
    /// INVLPG of a page: its address.
    Invlpg,
    /// The bytes that a save wrote: a mask of components.
    SavedComponents,
    /// A write of a field of the VMCS or VMCB.
    ControlBlock,
}

/// The data segment registers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Selector {
    /// DS.
    Ds,
    /// ES.
    Es,
    /// FS.
    Fs,
    /// GS.
    Gs,
}

impl Selector {
    /// The four.
    pub const ALL: [Self; 4] = [Self::Ds, Self::Es, Self::Fs, Self::Gs];
}

/// One entry of the ledger.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Event {
    /// What was accessed.
    pub what: What,
    /// What was there before.
    pub before: u64,
    /// What is there now.
    pub after: u64,
}

impl Event {
    /// Whether the write put there what was there.
    ///
    /// Reads, flushes and saves are not writes of a value, and IBPB is a command.
    #[must_use]
    pub const fn is_redundant(&self) -> bool {
        let is_value = !matches!(
            self.what,
            What::Rdmsr(_) | What::Invlpg | What::SavedComponents | What::Msr(crate::msr::PRED_CMD)
        );
        is_value && self.before == self.after
    }
}

/// What a CPU did since the ledger was last emptied, in order.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Vec<Event>);

impl Ledger {
    pub(crate) fn record(&mut self, what: What, before: u64, after: u64) {
        self.0.push(Event { what, before, after });
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// All entries.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.0
    }

    /// How often this was accessed.
    #[must_use]
    pub fn count(&self, what: What) -> usize {
        self.count_if(|other| other == what)
    }

    /// How many accesses were of this kind.
    pub fn count_if(&self, mut is_counted: impl FnMut(What) -> bool) -> usize {
        self.0.iter().filter(|event| is_counted(event.what)).count()
    }

    /// The writes that put there what was there.
    pub fn redundant(&self) -> impl Iterator<Item = &Event> {
        self.0.iter().filter(|event| event.is_redundant())
    }
}
