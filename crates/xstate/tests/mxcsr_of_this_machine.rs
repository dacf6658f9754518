//! The MXCSR mask of the CPU that runs the tests.
#![cfg(target_arch = "x86_64")]
#![expect(unsafe_code, reason = "UNSAFETY: executes FXSAVE, which the crate itself never does")]

use core::arch::x86_64::{__cpuid_count, _fxsave64};

use selfsame_xstate::MxcsrMask;

#[repr(align(16))]
struct Legacy([u8; 512]);

#[target_feature(enable = "fxsr")]
fn fxsave() -> Legacy {
    let mut image = Legacy([0; 512]);
    // SAFETY: the area has 512 bytes and is aligned to 16.
    unsafe { _fxsave64(image.0.as_mut_ptr()) };
    image
}

#[test]
fn this_machines_mask_is_its_vendors() {
    #[allow(unused_unsafe, reason = "newer toolchains have made CPUID safe")]
    // SAFETY: every x86-64 CPU has CPUID.
    let vendor = unsafe { __cpuid_count(0, 0) }.ecx.to_le_bytes();
    // SAFETY: every x86-64 CPU has FXSAVE.
    let image = unsafe { fxsave() };
    let mask = MxcsrMask::from_fxsave(&image.0);
    let expected = match &vendor {
        b"cAMD" | b"uine" => MxcsrMask::AMD,
        _ => MxcsrMask::INTEL,
    };
    assert_eq!(mask, expected, "{:#x}", mask.bits());
    let mxcsr = u32::from_le_bytes(image.0[24..28].try_into().unwrap());
    assert_eq!(mask.reserved(mxcsr), 0, "the CPU's own MXCSR");
}
