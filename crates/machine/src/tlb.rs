//! The translations that a CPU holds.

use alloc::vec::Vec;

use crate::memory::{Memory, PAGE_BYTES, Translation};

/// The bits of CR3 that hold the process-context identifier (SDM vol. 3, 4.10.1).
const PCID: u64 = 0xFFF;

/// Translations by process-context identifier and page. They stay as they are, whatever memory says, until they are flushed.
///
/// None is global, and CR3 is never written with the bit that keeps them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tlb(Vec<Held>);

#[derive(Clone, Copy, Debug)]
struct Held {
    pcid: u64,
    page: u64,
    translation: Translation,
}

impl Tlb {
    /// Forgets the translations of the identifier in `cr3`, as MOV to CR3 does, and walks everything that it maps: a CPU may
    /// do so at any time on its own account.
    pub(crate) fn load(&mut self, memory: &Memory, cr3: u64) {
        let pcid = cr3 & PCID;
        self.0.retain(|held| held.pcid != pcid);
        self.0.extend(memory.mapped(cr3).map(|(page, translation)| Held { pcid, page, translation }));
    }

    /// Forgets the translation of one page, as INVLPG does.
    pub(crate) fn flush_page(&mut self, cr3: u64, linear: u64) {
        self.0.retain(|held| held.pcid != cr3 & PCID || held.page != linear / PAGE_BYTES);
    }

    /// What an address is translated to: what is held, else what a walk finds, which is then held.
    pub(crate) fn translate(&mut self, memory: &Memory, cr3: u64, linear: u64) -> Option<Translation> {
        let page = linear / PAGE_BYTES;
        self.held(cr3, page).or_else(|| {
            let translation = memory.walk(cr3, page)?;
            self.0.push(Held { pcid: cr3 & PCID, page, translation });
            Some(translation)
        })
    }

    /// What is held for a page.
    pub(crate) fn held(&self, cr3: u64, page: u64) -> Option<Translation> {
        let held = self.0.iter().find(|held| held.pcid == cr3 & PCID && held.page == page);
        held.map(|held| held.translation)
    }
}
