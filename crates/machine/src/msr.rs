//! The model-specific registers that a switch of vCPUs is about.

use alloc::vec::Vec;

use selfsame_cpuid::{FaultingControl, MaskMeaning};
use selfsame_xstate::{Component, ComponentSet};

use crate::fault::{Exit, Fault, GpCause};
use crate::hardware::Hardware;
use crate::ledger::What;
use crate::processor::Processor;

/// IA32_SPEC_CTRL.
pub const SPEC_CTRL: u32 = 0x48;
/// IA32_PRED_CMD, whose bit 0 is IBPB.
pub const PRED_CMD: u32 = 0x49;
/// IA32_SYSENTER_CS.
pub const SYSENTER_CS: u32 = 0x174;
/// IA32_SYSENTER_ESP.
pub const SYSENTER_ESP: u32 = 0x175;
/// IA32_SYSENTER_EIP.
pub const SYSENTER_EIP: u32 = 0x176;
/// MISC_FEATURES_ENABLES, whose bit 0 switches CPUID faulting on.
pub const MISC_FEATURES_ENABLES: u32 = 0x140;
/// IA32_XFD.
pub const XFD: u32 = 0x1C4;
/// IA32_XFD_ERR.
pub const XFD_ERR: u32 = 0x1C5;
/// IA32_U_CET; it stands for the whole component CET_U.
pub const U_CET: u32 = 0x6A0;
/// IA32_S_CET.
pub const S_CET: u32 = 0x6A2;
/// IA32_PL0_SSP; it stands for the whole component CET_S.
pub const PL0_SSP: u32 = 0x6A4;
/// IA32_INTERRUPT_SSP_TABLE_ADDR.
pub const INTERRUPT_SSP_TABLE: u32 = 0x6A8;
/// IA32_PKRS.
pub const PKRS: u32 = 0x6E1;
/// IA32_PQR_ASSOC: resource monitoring ID and class of service.
pub const PQR_ASSOC: u32 = 0xC8F;
/// IA32_XSS.
pub const XSS: u32 = 0xDA0;
/// STAR.
pub const STAR: u32 = 0xC000_0081;
/// LSTAR.
pub const LSTAR: u32 = 0xC000_0082;
/// CSTAR.
pub const CSTAR: u32 = 0xC000_0083;
/// SFMASK.
pub const SFMASK: u32 = 0xC000_0084;
/// FS.base.
pub const FS_BASE: u32 = 0xC000_0100;
/// GS.base.
pub const GS_BASE: u32 = 0xC000_0101;
/// KernelGSBase.
pub const KERNEL_GS_BASE: u32 = 0xC000_0102;
/// IA32_TSC_AUX.
pub const TSC_AUX: u32 = 0xC000_0103;
/// AMD's HWCR, whose bit 35 switches CPUID faulting on.
pub const HWCR: u32 = 0xC001_0015;
/// The address masks of breakpoints 0 to 3 (AMD, with DBEXT).
pub const DR_ADDRESS_MASKS: [u32; 4] = [0xC001_1027, 0xC001_1019, 0xC001_101A, 0xC001_101B];

/// What HWCR has after RESET: bits that have nothing to do with CPUID faulting, and must stay.
pub(crate) const HWCR_RESET: u64 = 0x0100_0010;
const IBPB: u64 = 1;
/// AMD's override of leaf 1.
const LEAF_1_OVERRIDE: u32 = 0xC001_1004;
/// What firmware sets in it, so that the dynamic bits are shown: OSXSAVE and APIC.
const FORWARDED: u64 = 1 << 59 | 1 << 9;

/// One MSR without behaviour of its own: it keeps what is written.
struct Row {
    index: u32,
    reset: u64,
    is_present: fn(&Hardware) -> bool,
    is_allowed: fn(&Hardware, u64) -> bool,
}

const fn row(index: u32, is_present: fn(&Hardware) -> bool, is_allowed: fn(&Hardware, u64) -> bool) -> Row {
    Row { index, reset: 0, is_present, is_allowed }
}

fn always(_: &Hardware) -> bool {
    true
}

fn any(_: &Hardware, _: u64) -> bool {
    true
}

fn half(_: &Hardware, value: u64) -> bool {
    value >> 32 == 0
}

pub(crate) fn canonical(_: &Hardware, value: u64) -> bool {
    matches!(value >> 47, 0 | 0x1_FFFF)
}

static ROWS: &[Row] = &[
    row(SPEC_CTRL, Hardware::has_spec_ctrl, half),
    row(SYSENTER_CS, Hardware::has_sysenter, half),
    row(SYSENTER_ESP, Hardware::has_sysenter, canonical),
    row(SYSENTER_EIP, Hardware::has_sysenter, canonical),
    row(MISC_FEATURES_ENABLES, |cpu| cpu.faulting() == Some(FaultingControl::INTEL), |_, value| value <= 1),
    row(S_CET, Hardware::has_cet_ss, canonical),
    row(INTERRUPT_SSP_TABLE, Hardware::has_cet_ss, canonical),
    row(PKRS, Hardware::has_pks, half),
    row(PQR_ASSOC, |cpu| cpu.has_cqm() || cpu.has_rdt_a(), any),
    row(STAR, always, any),
    row(LSTAR, always, canonical),
    row(CSTAR, always, canonical),
    row(SFMASK, always, half),
    row(FS_BASE, always, canonical),
    row(GS_BASE, always, canonical),
    row(KERNEL_GS_BASE, always, canonical),
    row(TSC_AUX, |cpu| cpu.has_rdtscp() || cpu.has_rdpid(), half),
    Row {
        reset: HWCR_RESET,
        ..row(
            HWCR,
            |cpu| cpu.vendor().is_amd_like(),
            |cpu, value| value >> 35 & 1 == 0 || cpu.faulting() == Some(FaultingControl::AMD),
        )
    },
    row(DR_ADDRESS_MASKS[0], Hardware::has_dbext, half),
    row(DR_ADDRESS_MASKS[1], Hardware::has_dbext, half),
    row(DR_ADDRESS_MASKS[2], Hardware::has_dbext, half),
    row(DR_ADDRESS_MASKS[3], Hardware::has_dbext, half),
];

/// The MSRs of one CPU that keep what is written.
#[derive(Clone, Debug)]
pub(crate) struct MsrFile {
    /// By row of [`ROWS`].
    values: Vec<u64>,
    /// By row of [`Hardware::masks`].
    masks: Vec<u64>,
}

impl MsrFile {
    pub(crate) fn reset(hardware: &Hardware) -> Self {
        let masks = hardware.masks().iter().map(|mask| match mask.meaning {
            MaskMeaning::And => u64::MAX,
            MaskMeaning::Override => {
                let high = mask.high.map_or(0, |word| hardware.leaves().word(word));
                let value = u64::from(high) << 32 | u64::from(hardware.leaves().word(mask.low));
                if mask.index == LEAF_1_OVERRIDE { value | FORWARDED } else { value }
            }
        });
        Self { values: ROWS.iter().map(|row| row.reset).collect(), masks: masks.collect() }
    }

    /// The masking MSRs, in the order of [`Hardware::masks`].
    pub(crate) fn masks(&self) -> &[u64] {
        &self.masks
    }

    /// What an MSR holds; zero if the machine does not know it.
    pub(crate) fn get(&self, index: u32) -> u64 {
        let at = ROWS.iter().position(|row| row.index == index);
        at.and_then(|at| self.values.get(at)).copied().unwrap_or_default()
    }

    /// What an MSR holds, masking MSRs included; `None` if the machine does not know it.
    fn read(&self, hardware: &Hardware, index: u32) -> Option<u64> {
        match ROWS.iter().position(|row| row.index == index) {
            Some(at) => self.values.get(at),
            None => self.masks.get(hardware.masks().iter().position(|mask| mask.index == index)?),
        }
        .copied()
    }

    pub(crate) fn set(&mut self, hardware: &Hardware, index: u32, value: u64) {
        let place = match ROWS.iter().position(|row| row.index == index) {
            Some(at) => self.values.get_mut(at),
            None => hardware.masks().iter().position(|mask| mask.index == index).and_then(|at| self.masks.get_mut(at)),
        };
        if let Some(place) = place {
            *place = value;
        }
    }
}

impl Processor<'_> {
    /// RDMSR.
    ///
    /// # Errors
    ///
    /// #GP outside ring 0 and for an MSR that the CPU does not have; a VM exit if the MSR is intercepted.
    pub fn rdmsr(&mut self, index: u32) -> Result<u64, Fault> {
        self.check_msr_access(index)?;
        let value = self.msr(index)?;
        self.cpu.ledger.record(What::Rdmsr(index), value, value);
        Ok(value)
    }

    /// WRMSR.
    ///
    /// # Errors
    ///
    /// As [`Processor::rdmsr`]; #GP for a value that the MSR cannot hold.
    pub fn wrmsr(&mut self, index: u32, value: u64) -> Result<(), Fault> {
        self.check_msr_access(index)?;
        let before = if index == PRED_CMD { 0 } else { self.msr(index)? };
        if !self.is_allowed(index, value) {
            return Err(Fault::GeneralProtection(GpCause::MsrValue { index, value }));
        }
        let set = ComponentSet::from_bits(value);
        match index {
            PRED_CMD if value & IBPB != 0 => self.cpu.predictor.clear(),
            PRED_CMD => {}
            XSS => self.cpu.xss = set,
            XFD => self.cpu.xfd = set,
            XFD_ERR => self.cpu.xfd_err = set,
            U_CET => self.cpu.extended.write(Component::CET_U, value),
            PL0_SSP => self.cpu.extended.write(Component::CET_S, value),
            _ => self.cpu.msrs.set(self.hardware, index, value),
        }
        self.cpu.ledger.record(What::Msr(index), before, value);
        Ok(())
    }

    /// What an MSR holds, read without an instruction.
    ///
    /// # Errors
    ///
    /// #GP for an MSR that the CPU does not have.
    pub fn msr(&self, index: u32) -> Result<u64, Fault> {
        let absent = Fault::GeneralProtection(GpCause::NoSuchMsr { index });
        let value = match index {
            XSS => self.hardware.has_xsaves().then_some(self.cpu.xss.bits()),
            XFD => self.hardware.has_xfd().then_some(self.cpu.xfd.bits()),
            XFD_ERR => self.hardware.has_xfd().then_some(self.cpu.xfd_err.bits()),
            U_CET => self.hardware.has_cet_ss().then(|| self.cpu.extended.contents.get(Component::CET_U)),
            PL0_SSP => self.hardware.has_cet_ss().then(|| self.cpu.extended.contents.get(Component::CET_S)),
            _ => {
                let is_absent = |row: &Row| row.index == index && !(row.is_present)(self.hardware);
                if ROWS.iter().any(is_absent) { None } else { self.cpu.msrs.read(self.hardware, index) }
            }
        };
        value.ok_or(absent)
    }

    fn is_allowed(&self, index: u32, value: u64) -> bool {
        let set = ComponentSet::from_bits(value);
        match index {
            PRED_CMD => value & !IBPB == 0,
            XSS => set.is_subset_of(self.hardware.supervisor()),
            XFD | XFD_ERR => set.is_subset_of(self.hardware.xfd()),
            U_CET => canonical(self.hardware, value),
            PL0_SSP => canonical(self.hardware, value) && value.is_multiple_of(4),
            _ => ROWS.iter().filter(|row| row.index == index).all(|row| (row.is_allowed)(self.hardware, value)),
        }
    }

    fn check_msr_access(&self, index: u32) -> Result<(), Fault> {
        self.check_ring_0()?;
        if self.cpu.intercepts_msr(index) { Err(Fault::Exit(Exit::Msr(index))) } else { Ok(()) }
    }
}
