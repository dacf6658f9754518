//! Leaf 0xD of the dense form, reached without looking for it.

use selfsame_xstate::{Component, ComponentSet};

use crate::leaves::Leaves;
use crate::model;
use crate::place::{Register, Word};
use crate::regs::Regs;

const XCR0_LOW: Word = Word::subleaf(0xd, 0, Register::Eax);
const XCR0_HIGH: Word = Word::subleaf(0xd, 0, Register::Edx);
const XSS_LOW: Word = Word::subleaf(0xd, 1, Register::Ecx);
const XSS_HIGH: Word = Word::subleaf(0xd, 1, Register::Edx);

/// The slot of component 2; the others follow it.
const FIRST_ROW: usize = match model::slot(0xd, 2) {
    Some(slot) => slot,
    None => unreachable!(),
};

const _: () = assert!(matches!(model::slot(0xd, 62), Some(slot) if slot == FIRST_ROW + 60));

/// The words that say which components XCR0 and IA32_XSS may enable.
pub(crate) const fn words(user: ComponentSet, supervisor: ComponentSet) -> [(Word, u32); 4] {
    let (user, supervisor) = (user.halves(), supervisor.halves());
    [(XCR0_LOW, user.0), (XCR0_HIGH, user.1), (XSS_LOW, supervisor.0), (XSS_HIGH, supervisor.1)]
}

impl Leaves {
    /// The components that XCR0 may enable, leaf 0xD subleaf 0 EDX:EAX.
    pub const fn xcr0(&self) -> ComponentSet {
        ComponentSet::from_halves(self.word(XCR0_LOW), self.word(XCR0_HIGH))
    }

    /// The components that IA32_XSS may enable, leaf 0xD subleaf 1 EDX:ECX.
    pub const fn xss(&self) -> ComponentSet {
        ComponentSet::from_halves(self.word(XSS_LOW), self.word(XSS_HIGH))
    }

    /// The row of a component; zero for x87 and SSE, which have none. The offset of a supervisor component, which no format
    /// uses, is left out.
    #[inline]
    pub(crate) fn state_row(&self, component: Component) -> Regs {
        let row = usize::from(component.index()).checked_sub(2).map_or(Regs::ZERO, |i| self.slot(FIRST_ROW + i));
        if row.ecx & 1 == 1 { Regs { ebx: 0, ..row } } else { row }
    }

    /// Sets the components that XCR0 and IA32_XSS may enable.
    pub(crate) const fn set_states(&mut self, user: ComponentSet, supervisor: ComponentSet) {
        let words = words(user, supervisor);
        let mut i = 0;
        while i < words.len() {
            *self.word_mut(words[i].0) = words[i].1;
            i += 1;
        }
    }

    /// Sets the row of a component that has one.
    pub(crate) fn set_state_row(&mut self, component: Component, regs: Regs) {
        if let Some(i) = usize::from(component.index()).checked_sub(2) {
            self.set_slot(FIRST_ROW + i, regs);
        }
    }
}
