//! Instructions that a program tries, for what comes of it: each gives its fault as a value.
#![expect(unsafe_code, reason = "UNSAFETY: executes instructions that change how the machine works")]

use crate::fault::{Fault, recoverable};
use crate::msr::halves;

/// Writes the extended control register `index`; 0 is XCR0.
///
/// # Errors
///
/// #UD without CR4.OSXSAVE; #GP if there is no such register, or it does not take the value.
pub fn xsetbv(index: u32, value: u64) -> Result<(), Fault> {
    let (low, high) = halves(value);
    // SAFETY: what is compiled here uses no more state than SSE, which works whatever XCR0 holds.
    unsafe { recoverable!("xsetbv", in("ecx") index, in("eax") low, in("edx") high, options(nostack, preserves_flags)) }
}

/// Reads the extended control register `index`; 0 is XCR0, 1 what of it is in use.
///
/// # Errors
///
/// #UD without CR4.OSXSAVE; #GP if there is no such register.
pub fn xgetbv(index: u32) -> Result<u64, Fault> {
    let (low, high): (u32, u32);
    // SAFETY: it reads a register and touches no memory.
    let outcome = unsafe {
        recoverable!(
            "xgetbv",
            in("ecx") index, inlateout("eax") 0 => low, inlateout("edx") 0 => high, options(nostack, preserves_flags)
        )
    };
    outcome.map(|()| u64::from(high) << 32 | u64::from(low))
}

/// Loads extended state with XRSTOR, and puts MXCSR and x87 into their initial state behind it.
///
/// # Errors
///
/// What the image, the mask and the address raise.
///
/// # Safety
///
/// 1. `area` may be read up to the end of what its header names, in the format that it names.
/// 2. What is loaded besides x87, SSE and their extensions lets the program run on.
pub unsafe fn xrstor(area: *const u8, mask: u64) -> Result<(), Fault> {
    let (low, high) = halves(mask);
    // SAFETY: the caller's. The registers that compiled code uses are named as overwritten.
    let outcome = unsafe {
        recoverable!("xrstor64 [rdi]", in("rdi") area, in("eax") low, in("edx") high, clobber_abi("sysv64"),
            options(nostack))
    };
    calm();
    outcome
}

/// Loads extended state with XRSTORS, as [`xrstor`].
///
/// # Errors
///
/// What the image, the mask and the address raise; #UD without XSAVES.
///
/// # Safety
///
/// As for [`xrstor`].
pub unsafe fn xrstors(area: *const u8, mask: u64) -> Result<(), Fault> {
    let (low, high) = halves(mask);
    // SAFETY: the caller's. The registers that compiled code uses are named as overwritten.
    let outcome = unsafe {
        recoverable!("xrstors64 [rdi]", in("rdi") area, in("eax") low, in("edx") high, clobber_abi("sysv64"),
            options(nostack))
    };
    calm();
    outcome
}

/// Puts MXCSR and x87 into their initial state.
fn calm() {
    let mxcsr = selfsame_xstate::MXCSR_INITIAL;
    // SAFETY: compiled code runs with this state.
    unsafe { core::arch::asm!("fninit", "ldmxcsr [{}]", in(reg) &raw const mxcsr, options(nostack)) };
}

/// Reads PKRU with `ecx` in ECX.
///
/// # Errors
///
/// #UD without CR4.PKE; #GP unless `ecx` is 0.
pub fn rdpkru(ecx: u32) -> Result<u32, Fault> {
    let value: u32;
    // SAFETY: it reads a register and touches no memory.
    let outcome = unsafe {
        recoverable!(
            "rdpkru",
            in("ecx") ecx, inlateout("eax") 0 => value, out("edx") _, options(nostack, preserves_flags)
        )
    };
    outcome.map(|()| value)
}

/// Writes PKRU with `ecx` and `edx` in ECX and EDX.
///
/// # Errors
///
/// #UD without CR4.PKE; #GP unless `ecx` and `edx` are 0.
pub fn wrpkru(value: u32, ecx: u32, edx: u32) -> Result<(), Fault> {
    // SAFETY: it is about pages of ring 3, of which programs have one, read by ring 3 alone.
    unsafe { recoverable!("wrpkru", in("eax") value, in("ecx") ecx, in("edx") edx, options(nostack, preserves_flags)) }
}

/// Makes functions that read a control or debug register.
macro_rules! reads {
    ($($name:ident $register:literal)*) => {$(
        #[doc = concat!("Reads ", $register, ".")]
        pub fn $name() -> u64 {
            let value: u64;
            // SAFETY: reading it in ring 0 changes nothing.
            unsafe {
                core::arch::asm!(concat!("mov {}, ", $register), out(reg) value, options(nostack, preserves_flags));
            }
            value
        }
    )*};
}

/// Makes functions that write a control or debug register.
macro_rules! writes {
    ($($name:ident $register:literal)*) => {$(
        #[doc = concat!("Writes ", $register, ".")]
        ///
        /// # Errors
        ///
        /// #GP if the register does not take the value.
        ///
        /// # Safety
        ///
        /// The value changes nothing that the running program relies on: its address space, its execution mode, the
        /// instructions that it is compiled to, and no breakpoint that it meets.
        pub unsafe fn $name(value: u64) -> Result<(), Fault> {
            // SAFETY: the caller's.
            unsafe {
                recoverable!(
                    concat!("mov ", $register, ", rax"),
                    in("rax") value, options(nostack, preserves_flags)
                )
            }
        }
    )*};
}

reads! { cr0 "cr0" cr2 "cr2" cr3 "cr3" cr4 "cr4" cr8 "cr8" }
reads! { dr0 "dr0" dr1 "dr1" dr2 "dr2" dr3 "dr3" dr6 "dr6" dr7 "dr7" }
writes! { write_cr0 "cr0" write_cr2 "cr2" write_cr4 "cr4" write_cr8 "cr8" }
writes! { write_dr0 "dr0" write_dr1 "dr1" write_dr2 "dr2" write_dr3 "dr3" }
writes! { write_dr6 "dr6" write_dr7 "dr7" }

/// An instruction that takes nothing and gives nothing.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    /// What it is called.
    pub name: &'static str,
    execute: fn() -> Result<(), Fault>,
}

impl Instruction {
    /// Executes it.
    ///
    /// # Errors
    ///
    /// What it raises.
    pub fn execute(&self) -> Result<(), Fault> {
        (self.execute)()
    }
}

/// Makes a table of instructions. Most take an address in RAX, or memory there.
macro_rules! instructions {
    ($($name:literal $instruction:literal)*) => {[$(Instruction {
        name: $name,
        execute: || {
            let mut operand = 0_u64;
            // SAFETY: outside of VMX operation, without EFER.SVME and outside of SMM they do nothing but fault.
            unsafe { recoverable!($instruction, in("rax") &raw mut operand, in("ecx") 0, options(nostack)) }
        },
    }),*]};
}

/// Instructions that are undefined for a program of the base, whatever the CPU has.
///
/// They belong to VMX operation and to SVM with EFER.SVME set (SDM vol. 3C, 25.1.2; APM vol. 2, 15.4), to SMM and to
/// safer mode with CR4.SMXE set.
pub static UNDEFINED: [Instruction; 18] = instructions! {
    "ud2" "ud2"
    "rsm" "rsm"
    "getsec" "getsec"
    "vmxon" "vmxon [rax]"
    "vmxoff" "vmxoff"
    "vmptrld" "vmptrld [rax]"
    "vmclear" "vmclear [rax]"
    "vmread" "vmread [rax], rcx"
    "vmlaunch" "vmlaunch"
    "vmresume" "vmresume"
    "vmcall" "vmcall"
    "vmmcall" "vmmcall"
    "vmrun" "vmrun rax"
    "vmload" "vmload rax"
    "vmsave" "vmsave rax"
    "stgi" "stgi"
    "clgi" "clgi"
    "invlpga" "invlpga rax, ecx"
};
