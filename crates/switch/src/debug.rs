//! Debug registers and the address masks that AMD added to them.

use core::ops::RangeInclusive;

use crate::DrMask;

/// A debug register.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum DebugRegister {
    /// The address of breakpoint 0.
    Dr0,
    /// The address of breakpoint 1.
    Dr1,
    /// The address of breakpoint 2.
    Dr2,
    /// The address of breakpoint 3.
    Dr3,
    /// What happened.
    Dr6,
    /// Which breakpoints are on, and for what.
    Dr7,
}

impl DebugRegister {
    /// The four addresses, in order.
    pub const ADDRESSES: [Self; 4] = [Self::Dr0, Self::Dr1, Self::Dr2, Self::Dr3];
}

/// DR6 when nothing has happened (SDM vol. 3B, 19.2.3; APM vol. 2, 13.1.1.3).
pub const DR6_RESET: u64 = 0xFFFF_0FF0;
/// DR7 with every breakpoint off (SDM vol. 3B, 19.2.4; APM vol. 2, 13.1.1.4).
pub const DR7_RESET: u64 = 0x400;

/// The four breakpoints of a vCPU and their masks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct DebugState {
    /// DR0 to DR3.
    pub addresses: [u64; 4],
    /// Their masks, as the guest sees them: zero for a guest whose policy lacks BPEXT, whatever the CPU has (XSA-444).
    pub masks: [u32; 4],
    /// DR6.
    pub dr6: u64,
    /// DR7.
    pub dr7: u64,
}

impl DebugState {
    /// After RESET: all breakpoints are off.
    pub const RESET: Self = Self { addresses: [0; 4], masks: [0; 4], dr6: DR6_RESET, dr7: DR7_RESET };

    /// Tells whether a breakpoint is on: one of the enable bits of DR7.
    #[must_use]
    #[inline]
    pub const fn is_active(&self) -> bool {
        self.dr7 & 0xFF != 0
    }
}

/// Why a PV guest may not have a breakpoint.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BreakpointError {
    /// It would match in the hypervisor's addresses: on its GDT, for one, every delivery of #DB would raise the next (XSA-444).
    #[error("breakpoint {number} matches addresses of the hypervisor")]
    InHypervisor {
        /// 0 to 3.
        number: u8,
    },
    /// DR7.GD would make the hypervisor's own MOVs to debug registers raise #DB.
    #[error("dr7.gd is the hypervisor's")]
    GeneralDetect,
}

impl DebugState {
    /// Judges what a PV guest wants in its debug registers, where `hypervisor` are the linear addresses that are not its own.
    ///
    /// Every address counts, whether DR7 has it on or not: it may be on next. With its mask a breakpoint matches many
    /// addresses, of which the lowest and the highest decide.
    ///
    /// # Errors
    ///
    /// Names the first breakpoint that is refused.
    pub fn judge_pv(&self, hypervisor: RangeInclusive<u64>) -> Result<(), BreakpointError> {
        const GENERAL_DETECT: u64 = 1 << 13;
        /// A breakpoint matches up to eight bytes from its address on.
        const LAST_BYTE: u64 = 7;
        if self.dr7 & GENERAL_DETECT != 0 {
            return Err(BreakpointError::GeneralDetect);
        }
        for (number, (&address, &mask)) in (0..).zip(self.addresses.iter().zip(&self.masks)) {
            let lowest = address & !u64::from(mask);
            let highest = (address | u64::from(mask)).saturating_add(LAST_BYTE);
            if lowest <= *hypervisor.end() && highest >= *hypervisor.start() {
                return Err(BreakpointError::InHypervisor { number });
            }
        }
        Ok(())
    }
}

impl Default for DebugState {
    fn default() -> Self {
        Self::RESET
    }
}

const _: () = assert!(DrMask::ALL.len() == DebugRegister::ADDRESSES.len());
