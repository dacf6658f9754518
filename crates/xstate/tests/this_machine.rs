//! The CPU that runs the tests, as an oracle.
#![cfg(target_arch = "x86_64")]
#![expect(unsafe_code, reason = "UNSAFETY: reads CPUID and XCR0 of the machine, which the crate itself never does")]

use core::arch::x86_64::{__cpuid_count, _xgetbv};

use selfsame_xstate::{ComponentSet, Defect, Geometry};

#[allow(unused_unsafe, reason = "newer toolchains have made CPUID safe")]
fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    // SAFETY: every x86-64 CPU has CPUID.
    let result = unsafe { __cpuid_count(leaf, subleaf) };
    [result.eax, result.ebx, result.ecx, result.edx]
}

#[target_feature(enable = "xsave")]
fn xcr0() -> u64 {
    // SAFETY: the caller has seen OSXSAVE, and register 0 always exists.
    unsafe { _xgetbv(0) }
}

/// The machine's geometry and XCR0, or nothing where it has no leaf 0xD in use.
fn this_machine() -> Option<(Geometry, ComponentSet)> {
    const XSAVE_AND_OSXSAVE: u32 = 0b11 << 26;
    if cpuid(0, 0)[0] < 0xD || cpuid(1, 0)[2] & XSAVE_AND_OSXSAVE != XSAVE_AND_OSXSAVE {
        eprintln!("skipped: this machine has no XSAVE");
        return None;
    }
    // SAFETY: CPUID has just shown XSAVE.
    let xcr0 = unsafe { xcr0() };
    Some((Geometry::read(|subleaf| cpuid(0xD, subleaf)), ComponentSet::from_bits(xcr0)))
}

#[test]
fn this_machines_sizes_are_the_computed_ones() {
    let Some((geometry, xcr0)) = this_machine() else { return };
    eprintln!("{geometry:?}, xcr0 {xcr0}");
    assert_eq!(geometry.standard_size(geometry.user()), Ok(geometry.reported_standard_size()));
    assert_eq!(geometry.standard_size(xcr0), Ok(cpuid(0xD, 0)[1]));
    if geometry.has_xsavec() {
        // IA32_XSS cannot be read here: its components may add to the size.
        let reported = cpuid(0xD, 1)[1];
        assert!(reported >= geometry.compacted_size(xcr0).unwrap(), "{reported}");
        assert!(reported <= geometry.compacted_size(xcr0 | geometry.supervisor()).unwrap(), "{reported}");
    }
}

#[test]
fn this_machines_xcr0_is_legal() {
    let Some((geometry, xcr0)) = this_machine() else { return };
    assert_eq!(selfsame_xstate::xcr0_faults(xcr0.bits(), geometry.user()).next(), None);
}

#[test]
fn this_machine_has_no_defect() {
    let Some((geometry, _)) = this_machine() else { return };
    assert_eq!(geometry.defects().collect::<Vec<Defect>>(), []);
}
