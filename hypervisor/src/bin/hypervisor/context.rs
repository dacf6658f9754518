//! What an entry into a guest reads and its exit writes: general registers, and the SSE registers that compiled code uses.

use core::ptr;

use selfsame_x86::Orders;

/// A vCPU's general registers, but for RSP (and under SVM RAX), which the control block has.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Registers {
    pub(crate) rax: u64,
    pub(crate) rcx: u64,
    pub(crate) rdx: u64,
    pub(crate) rbx: u64,
    pub(crate) rbp: u64,
    pub(crate) rsi: u64,
    pub(crate) rdi: u64,
    pub(crate) r8_to_r15: [u64; 8],
    /// No VMCS has it, and not every implementation of SVM takes it from the control block.
    pub(crate) cr2: u64,
}

impl Registers {
    /// A register by its number in instructions (SDM vol. 2A, table 2-2); `None` for RSP, which is not here.
    pub(crate) fn by_number(&self, number: u8) -> Option<u64> {
        Some(match number {
            0 => self.rax,
            1 => self.rcx,
            2 => self.rdx,
            3 => self.rbx,
            5 => self.rbp,
            6 => self.rsi,
            7 => self.rdi,
            _ => *self.r8_to_r15.get(usize::from(number).checked_sub(8)?)?,
        })
    }

    /// EDX:EAX.
    pub(crate) const fn edx_eax(&self) -> u64 {
        self.rdx << 32 | self.rax & 0xffff_ffff
    }

    /// Sets EDX:EAX, as an instruction that writes 32-bit registers does.
    pub(crate) const fn set_edx_eax(&mut self, value: u64) {
        self.rax = value & 0xffff_ffff;
        self.rdx = value >> 32;
    }
}

/// XMM0 to XMM15 and MXCSR of the vCPU whose extended state is on the CPU, while compiled code runs.
///
/// All else of its extended state stays in the registers, across exits and idle: what is compiled here touches nothing but
/// these.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct SseRegisters {
    xmm: [[u64; 2]; 16],
    mxcsr: u32,
    /// What compiled code runs with.
    own_mxcsr: u32,
}

impl SseRegisters {
    /// After RESET (SDM vol. 1, 11.6.4).
    pub(crate) const RESET: Self = Self { xmm: [[0; 2]; 16], mxcsr: 0x1f80, own_mxcsr: 0x1f80 };
}

/// What the entry stubs are given, by addresses that they know by [`core::mem::offset_of`].
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Context {
    /// What is left to do of a switch.
    pub(crate) orders: Orders,
    pub(crate) registers: *mut Registers,
    pub(crate) sse: *mut SseRegisters,
    /// SVM: the guest's control block, in physical memory.
    pub(crate) guest_block: u64,
    /// SVM: where VMSAVE has put what is the CPU's own.
    pub(crate) own_block: u64,
    /// VMX: whether the control structure was launched.
    pub(crate) is_launched: bool,
}

impl Context {
    pub(crate) const fn new() -> Self {
        Self {
            orders: Orders::NONE,
            registers: ptr::null_mut(),
            sse: ptr::null_mut(),
            guest_block: 0,
            own_block: 0,
            is_launched: false,
        }
    }
}
