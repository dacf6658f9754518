//! The part of a round that is not compiled, and the registers that it loads.
#![expect(unsafe_code, reason = "UNSAFETY: loads every register that a guest has")]

use selfsame_hypervisor::guest_ports::YIELD;
use selfsame_xstate::{ComponentSet, SaveMethod};

use crate::area::Area;
use crate::compare::{Difference, Place};
use crate::random::Random;

#[cfg(bare)]
core::arch::global_asm!(
    include_str!("round.s"),
    image = const core::mem::offset_of!(Block, image),
    saved = const core::mem::offset_of!(Block, saved),
    mask = const core::mem::offset_of!(Block, mask),
    method = const core::mem::offset_of!(Block, method),
    spins = const core::mem::offset_of!(Block, spins),
    xcr0 = const core::mem::offset_of!(Block, xcr0),
    xss = const core::mem::offset_of!(Block, xss),
    wait_xcr0 = const core::mem::offset_of!(Block, wait_xcr0),
    wait_xss = const core::mem::offset_of!(Block, wait_xss),
    loaded = const core::mem::offset_of!(Block, loaded),
    loaded_flags = const core::mem::offset_of!(Block, loaded_flags),
    found = const core::mem::offset_of!(Block, found),
    found_flags = const core::mem::offset_of!(Block, found_flags),
    xss_msr = const selfsame_xstate::Xss::MSR,
    xsave = const XSAVE,
);

unsafe extern "C" {
    /// Plays the round of the block.
    fn guest_round(block: *mut Block);
}

/// What [`Block::method`] holds.
const FXSAVE: u64 = 0;
const XSAVE: u64 = 1;
const XSAVES: u64 = 2;

/// The registers by number; RSP is 4.
const NAMES: [&str; 16] =
    ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
const RDX: usize = 2;

/// How a round waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wait {
    /// It lets others run.
    Yield,
    /// It goes round so often, at least once, and only an interrupt can let others run.
    Spin(u64),
}

/// What XCR0 and IA32_XSS hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Masks {
    pub(crate) xcr0: ComponentSet,
    pub(crate) xss: ComponentSet,
}

/// What `round.s` reads and writes.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Block {
    image: *const u8,
    saved: *mut u8,
    mask: u64,
    method: u64,
    /// 0 to let others run.
    spins: u64,
    xcr0: u64,
    xss: u64,
    wait_xcr0: u64,
    wait_xss: u64,
    loaded: [u64; 16],
    loaded_flags: u64,
    found: [u64; 16],
    found_flags: u64,
}

/// The flags of programs: CF, PF, AF, ZF, SF, DF, OF, AC, ID.
const FLAGS: u64 = 0x24_0cd5;
/// Bit 1 is always set.
const FIXED: u64 = 2;
/// What the last DEC of a loop leaves: PF and ZF, and of the others those that DEC does not change, CF, DF, AC and ID.
const COUNTED_DOWN: u64 = 0x44;
const NOT_COUNTED: u64 = 0x24_0401;

impl Block {
    /// A round with random registers.
    pub(crate) fn new(method: SaveMethod, mask: ComponentSet, wait: Wait, random: &mut Random) -> Self {
        let mut loaded: [u64; 16] = core::array::from_fn(|_| random.next());
        let method = match method {
            SaveMethod::Fxsave => FXSAVE,
            SaveMethod::Xsave => XSAVE,
            SaveMethod::Xsaves => XSAVES,
        };
        let spins = match wait {
            Wait::Yield => 0,
            Wait::Spin(times) => times.max(1),
        };
        if let Some(rdx) = loaded.get_mut(RDX) {
            *rdx = *rdx & !0xffff | u64::from(YIELD);
        }
        Self {
            image: core::ptr::null(),
            saved: core::ptr::null_mut(),
            mask: mask.bits(),
            method,
            spins,
            xcr0: 0,
            xss: 0,
            wait_xcr0: 0,
            wait_xss: 0,
            loaded,
            loaded_flags: random.next() & FLAGS | FIXED,
            found: [0; 16],
            found_flags: 0,
        }
    }

    /// Plays the round: loads `image`, waits under the masks `wait`, and saves into `saved`. `masks` are what is in the
    /// registers before and after.
    ///
    /// # Safety
    ///
    /// 1. The CPU has the instructions of the method, and `masks` are in XCR0 and IA32_XSS.
    /// 2. XCR0 and IA32_XSS take `wait`.
    /// 3. `image` holds an image that the instruction takes, and both areas have room for the mask's layout.
    /// 4. What is loaded changes nothing in ring 0 but registers that compiled code does not rely on.
    pub(crate) unsafe fn play(&mut self, image: &Area, saved: &mut Area, masks: Masks, wait: Masks) {
        self.image = image.bytes().as_ptr();
        self.saved = saved.bytes_mut().as_mut_ptr();
        (self.xcr0, self.xss) = (masks.xcr0.bits(), masks.xss.bits());
        (self.wait_xcr0, self.wait_xss) = (wait.xcr0.bits(), wait.xss.bits());
        // SAFETY: the caller's; the routine keeps the registers that the ABI says, MXCSR and the x87 control word.
        unsafe { guest_round(self) };
    }

    /// Compares what was found in the general-purpose registers and the flags with what was loaded.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub(crate) fn verify(&self) -> Result<(), Difference> {
        for ((&name, &expected), &found) in NAMES.iter().zip(&self.loaded).zip(&self.found) {
            Difference::check(Place::Register(name), expected, found)?;
        }
        let expected =
            if self.spins == 0 { self.loaded_flags } else { self.loaded_flags & NOT_COUNTED | COUNTED_DOWN | FIXED };
        Difference::check(Place::Register("rflags"), expected, self.found_flags)
    }
}
