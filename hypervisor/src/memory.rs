//! The functions on memory that the compiler calls, and that no library brings here.
//!
//! They are written in instructions: a loop in Rust would be recognised for what it is and compiled into a call of
//! itself.
#![expect(unsafe_code, reason = "UNSAFETY: these are what unsafe code is compiled to")]

use core::arch::asm;
use core::ffi::c_int;

/// # Safety
///
/// `from` and `to` hold `len_bytes` bytes and do not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len_bytes: usize) -> *mut u8 {
    // SAFETY: the caller's; the direction flag is clear by the ABI.
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") len_bytes => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags)
        );
    };
    to
}

/// # Safety
///
/// `from` and `to` hold `len_bytes` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len_bytes: usize) -> *mut u8 {
    let is_behind = to.addr().wrapping_sub(from.addr()) >= len_bytes;
    if is_behind {
        // SAFETY: the caller's; copying upwards, no byte of `from` is written before it is read.
        return unsafe { memcpy(to, from, len_bytes) };
    }
    let (last_to, last_from) = (to.wrapping_add(len_bytes - 1), from.wrapping_add(len_bytes - 1));
    // SAFETY: the caller's; copying downwards, no byte of `from` is written before it is read.
    unsafe {
        asm!(
            "std", "rep movsb", "cld",
            inout("rcx") len_bytes => _, inout("rdi") last_to => _, inout("rsi") last_from => _,
            options(nostack)
        );
    };
    to
}

/// # Safety
///
/// `to` holds `len_bytes` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: c_int, len_bytes: usize) -> *mut u8 {
    // SAFETY: the caller's; the direction flag is clear by the ABI.
    unsafe {
        asm!(
            "rep stosb",
            inout("rcx") len_bytes => _, inout("rdi") to => _, in("eax") byte,
            options(nostack, preserves_flags)
        );
    };
    to
}

/// # Safety
///
/// `a` and `b` hold `len_bytes` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, len_bytes: usize) -> c_int {
    for at in 0..len_bytes {
        // SAFETY: the caller's. A volatile read keeps the loop a loop.
        let byte_a = unsafe { a.wrapping_add(at).read_volatile() };
        // SAFETY: as above.
        let byte_b = unsafe { b.wrapping_add(at).read_volatile() };
        if byte_a != byte_b {
            return c_int::from(byte_a) - c_int::from(byte_b);
        }
    }
    0
}

/// # Safety
///
/// `a` and `b` hold `len_bytes` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, len_bytes: usize) -> c_int {
    // SAFETY: the caller's.
    unsafe { memcmp(a, b, len_bytes) }
}
