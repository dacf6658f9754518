//! The XSAVE family, and its registers: one instruction a function.
//!
//! These are for code that owns the registers: a hypervisor in ring 0, which saves one owner's state and loads another's. What
//! a program in user mode may do, it does with [`through`](crate::Oracle::through), which leaves nothing loaded.
#![expect(unsafe_code, reason = "UNSAFETY: saves and loads registers, to and from memory that the caller vouches for")]

use core::arch::asm;

/// Writes the components of `mask` that XCR0 has to `area`, in the standard format (SDM vol. 1, 13.7).
///
/// # Safety
///
/// 1. The CPU has XSAVE, and CR4.OSXSAVE is set.
/// 2. `area` is aligned to 64 bytes, and may be written up to the end of `mask` in the standard format.
/// 3. The header at byte 512 of `area` is initialised: bits of XSTATE_BV outside `mask` stay.
///
/// ```
/// # #[cfg(target_arch = "x86_64")] {
/// #[repr(align(64))]
/// struct Area([u8; 576]);
///
/// const OSXSAVE: u32 = 1 << 27;
/// if selfsame_x86::cpuid(1, 0).ecx & OSXSAVE != 0 {
///     let mut area = Area([0; 576]);
///     // SAFETY: OSXSAVE shows that 1 holds; x87 and SSE end at byte 576; the header is zero.
///     unsafe { selfsame_x86::xsave(area.0.as_mut_ptr(), 0b11) };
///     assert_ne!(area.0[24..28], [0; 4], "mxcsr");
/// }
/// # }
/// ```
#[inline]
pub unsafe fn xsave(area: *mut u8, mask: u64) {
    let (low, high) = halves(mask);
    // SAFETY: 1 to 3 are the caller's.
    unsafe { asm!("xsave64 [{}]", in(reg) area, in("eax") low, in("edx") high, options(nostack, preserves_flags)) }
}

/// Writes the components of `mask` that XCR0 has and that are in use to `area`, in the compacted format
/// (SDM vol. 1, 13.10).
///
/// XCOMP_BV gives every component of `mask` a place, in use or not.
///
/// # Safety
///
/// 1. The CPU has XSAVEC (CPUID.(0xD,1).EAX bit 1), and CR4.OSXSAVE is set.
/// 2. `area` is aligned to 64 bytes, and may be written up to the end of `mask` in the compacted format.
#[inline]
pub unsafe fn xsavec(area: *mut u8, mask: u64) {
    let (low, high) = halves(mask);
    // SAFETY: 1 and 2 are the caller's.
    unsafe { asm!("xsavec64 [{}]", in(reg) area, in("eax") low, in("edx") high, options(nostack, preserves_flags)) }
}

/// Writes the components of `mask` that XCR0 or IA32_XSS have and that are in use and changed since the last XRSTORS from
/// `area`, in the compacted format (SDM vol. 1, 13.11).
///
/// # Safety
///
/// 1. The CPU has XSAVES (CPUID.(0xD,1).EAX bit 3), CR4.OSXSAVE is set, and this is ring 0.
/// 2. `area` is aligned to 64 bytes, and may be written up to the end of `mask` in the compacted format.
/// 3. If XRSTORS has loaded from `area` last, nobody has changed the bytes since: what is unchanged in the registers is not
///    written.
/// 4. No bit of IA32_XFD is set for a component of `mask` that is in use: its contents would be lost.
#[inline]
pub unsafe fn xsaves(area: *mut u8, mask: u64) {
    let (low, high) = halves(mask);
    // SAFETY: 1 to 4 are the caller's.
    unsafe { asm!("xsaves64 [{}]", in(reg) area, in("eax") low, in("edx") high, options(nostack, preserves_flags)) }
}

/// Loads the components of `mask` that XCR0 has from `area`, in the format that its header tells (SDM vol. 1, 13.8).
///
/// # Safety
///
/// 1. The CPU has XSAVE, and CR4.OSXSAVE is set.
/// 2. `area` is aligned to 64 bytes, and may be read up to the end of what its header names.
/// 3. Its header makes no fault ([`hardware_fault`](selfsame_xstate::hardware_fault)), or the fault is expected here.
/// 4. What follows can live with what is loaded: MXCSR and the x87 control word are those of compiled code, PKRU lets it
///    reach its memory. In user mode that is so only for what [`xsave`] has saved right before.
#[inline]
pub unsafe fn xrstor(area: *const u8, mask: u64) {
    let (low, high) = halves(mask);
    // SAFETY: 1 to 4 are the caller's. The registers that compiled code uses are named as overwritten.
    unsafe {
        asm!("xrstor64 [{}]", in(reg) area, in("eax") low, in("edx") high, clobber_abi("sysv64"), options(nostack));
    }
}

/// Loads the components of `mask` that XCR0 or IA32_XSS have from `area`, in the compacted format (SDM vol. 1, 13.12).
///
/// # Safety
///
/// 1. The CPU has XSAVES (CPUID.(0xD,1).EAX bit 3), CR4.OSXSAVE is set, and this is ring 0.
/// 2. `area` is aligned to 64 bytes, and may be read up to the end of what its header names.
/// 3. Its header and its supervisor components make no fault, or the fault is expected here.
/// 4. What follows can live with what is loaded, supervisor shadow stacks included; otherwise as for [`xrstor`].
/// 5. No bit of IA32_XFD is set for a component of `mask` that is present.
#[inline]
pub unsafe fn xrstors(area: *const u8, mask: u64) {
    let (low, high) = halves(mask);
    // SAFETY: 1 to 5 are the caller's. The registers that compiled code uses are named as overwritten.
    unsafe {
        asm!("xrstors64 [{}]", in(reg) area, in("eax") low, in("edx") high, clobber_abi("sysv64"), options(nostack));
    }
}

/// Writes x87, XMM and MXCSR to `area` (SDM vol. 1, 10.5.1). The bytes from 416 stay as they are.
///
/// # Safety
///
/// `area` is aligned to 16 bytes, and its 512 bytes may be written.
#[inline]
pub unsafe fn fxsave(area: *mut u8) {
    // SAFETY: the caller's. Every x86-64 CPU has the instruction.
    unsafe { asm!("fxsave64 [{}]", in(reg) area, options(nostack, preserves_flags)) }
}

/// Loads x87, XMM and MXCSR from `area` (SDM vol. 1, 10.5.1).
///
/// # Safety
///
/// 1. `area` is aligned to 16 bytes, and its 512 bytes may be read.
/// 2. MXCSR in `area` has only bits of this CPU.
/// 3. As 4 for [`xrstor`].
#[inline]
pub unsafe fn fxrstor(area: *const u8) {
    // SAFETY: 1 to 3 are the caller's. The registers that compiled code uses are named as overwritten.
    unsafe { asm!("fxrstor64 [{}]", in(reg) area, clobber_abi("sysv64"), options(nostack)) }
}

/// Reads an extended control register (SDM vol. 2, XGETBV): 0 is XCR0, and 1 what of it is in use.
///
/// # Safety
///
/// 1. CR4.OSXSAVE is set.
/// 2. `register` is 0, or 1 and the CPU has it (CPUID.(0xD,1).EAX bit 2).
#[inline]
pub unsafe fn xgetbv(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: 1 and 2 are the caller's. XCR0 changes with XSETBV, so this is not `pure`.
    unsafe {
        asm!("xgetbv", in("ecx") register, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes XCR0 (SDM vol. 2, XSETBV).
///
/// # Safety
///
/// 1. CR4.OSXSAVE is set, and this is ring 0.
/// 2. The CPU takes `xcr0` ([`xcr0_faults`](selfsame_xstate::xcr0_faults) names nothing).
/// 3. Nobody who runs on this CPU keeps state in a component that `xcr0` disables.
#[inline]
pub unsafe fn write_xcr0(xcr0: u64) {
    let (low, high) = halves(xcr0);
    // SAFETY: 1 to 3 are the caller's. No `nomem`: saves and loads around it must stay on their side.
    unsafe { asm!("xsetbv", in("ecx") 0, in("eax") low, in("edx") high, options(nostack, preserves_flags)) }
}

/// Reads PKRU (SDM vol. 2, RDPKRU).
///
/// # Safety
///
/// CR4.PKE is set: CPUID.(7,0).ECX bit 4.
#[inline]
pub unsafe fn rdpkru() -> u32 {
    let pkru: u32;
    // SAFETY: the caller's. PKRU changes with WRPKRU and XRSTOR, so this is not `pure`.
    unsafe {
        asm!("rdpkru", in("ecx") 0, out("eax") pkru, out("edx") _, options(nomem, nostack, preserves_flags));
    }
    pkru
}

/// The low and the high half, as EAX and EDX take them.
#[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
pub(crate) const fn halves(mask: u64) -> (u32, u32) {
    (mask as u32, (mask >> 32) as u32)
}
