//! What one CPU says of itself, as rows of a capture.

use selfsame_cpuid::text::Statement;
use selfsame_cpuid::{CAPTURED_MSRS, LevellingCapabilities, Regs, walk};
use selfsame_hypervisor::{Cr4, Fault, msr, set_cr4, write_xcr0};
use selfsame_x86::cpuid;

use crate::levelling;

/// How many rows a CPU may have: twice as many as the largest dumps that are known.
const MAX_ROWS: usize = 512;

const IA32_XSS: u32 = 0xda0;

/// One CPU's rows and its levelling hardware.
#[derive(Debug)]
pub(crate) struct Survey {
    rows: [Statement<'static>; MAX_ROWS],
    len: usize,
    pub(crate) levelling: LevellingCapabilities,
}

/// Why a CPU cannot be surveyed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum SurveyError {
    /// Extended state that CPUID enumerates could not be switched on.
    #[error("{what} faults with {fault}, though CPUID says otherwise")]
    State {
        /// What was done.
        what: &'static str,
        /// What came of it.
        fault: Fault,
    },
    /// There are more rows than [`MAX_ROWS`].
    #[error("more than {MAX_ROWS} rows on one CPU")]
    TooManyRows,
}

impl Survey {
    /// Surveys the CPU that runs the caller, with all of its extended state switched on.
    pub(crate) fn new() -> Result<Self, SurveyError> {
        let levelling = levelling::probed();
        switch_state_on()?;
        let mut survey = Self { rows: [Statement::Msr(0, None); MAX_ROWS], len: 0, levelling };
        let mut is_full = false;
        walk(cpuid, |leaf, subleaf, regs| is_full |= !survey.push(Statement::Leaf(leaf, subleaf, regs)));
        for index in CAPTURED_MSRS {
            is_full |= !survey.push(Statement::Msr(index, msr::read(index).ok()));
        }
        if is_full { Err(SurveyError::TooManyRows) } else { Ok(survey) }
    }

    /// The rows in the order of a capture.
    pub(crate) fn rows(&self) -> &[Statement<'static>] {
        self.rows.get(..self.len).unwrap_or_default()
    }

    /// Adds a row; returns whether there was room.
    fn push(&mut self, row: Statement<'static>) -> bool {
        let Some(place) = self.rows.get_mut(self.len) else { return false };
        *place = row;
        self.len += 1;
        true
    }
}

/// Switches on what an operating system does: OSXSAVE, OSPKE, and in XCR0 and IA32_XSS every component that there is.
///
/// CPUID shows the bits of CR4, and the sizes in leaf 0xD of what is switched on: so a capture reads as one that was
/// made under an operating system, and its sizes are those of all components together.
fn switch_state_on() -> Result<(), SurveyError> {
    const XSAVE: u32 = 1 << 26;
    const PKU: u32 = 1 << 3;
    const XSAVES: u32 = 1 << 3;
    let highest_leaf = cpuid(0, 0).eax;
    let did = |what, outcome: Result<(), Fault>| outcome.map_err(|fault| SurveyError::State { what, fault });
    if highest_leaf >= 7 && cpuid(7, 0).ecx & PKU != 0 {
        did("setting CR4.PKE", set_cr4(Cr4::Pke))?;
    }
    if highest_leaf < 0xd || cpuid(1, 0).ecx & XSAVE == 0 {
        return Ok(());
    }
    did("setting CR4.OSXSAVE", set_cr4(Cr4::OsXsave))?;
    let Regs { eax, edx, .. } = cpuid(0xd, 0);
    did("writing XCR0", write_xcr0(u64::from(edx) << 32 | u64::from(eax)))?;
    let Regs { eax, ecx, edx, .. } = cpuid(0xd, 1);
    if eax & XSAVES != 0 {
        did("writing IA32_XSS", write_xss(u64::from(edx) << 32 | u64::from(ecx)))?;
    }
    Ok(())
}

#[expect(unsafe_code, reason = "UNSAFETY: writes an MSR")]
fn write_xss(value: u64) -> Result<(), Fault> {
    // SAFETY: it decides what XSAVES saves, which nothing here executes.
    unsafe { msr::write(IA32_XSS, value) }
}
