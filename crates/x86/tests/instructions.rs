//! The instructions alone, where user mode may execute them without leaving anything loaded.
#![cfg(target_arch = "x86_64")]
#![expect(unsafe_code, reason = "UNSAFETY: executes the instructions under test")]

use std::io::Write;

use selfsame_x86::{Oracle, cpuid, fxrstor, fxsave, rdpkru, xgetbv, xrstor, xsave, xsavec};
use selfsame_xstate::{Component, ComponentSet, Reader};

#[repr(align(64))]
struct Area([u8; 16384]);

fn skipped(what: &str) {
    // Not `eprintln`: the harness keeps what a passing test prints, and a skip must not look like a pass.
    let _ = std::io::stderr().write_all(format!("SKIPPED: {what}\n").as_bytes());
}

fn oracle() -> Option<Oracle> {
    let oracle = Oracle::of_this_cpu();
    if oracle.is_none() {
        skipped("this machine has no XSAVE in user mode");
    }
    oracle
}

#[test]
fn saves_are_read_strictly() {
    let Some(oracle) = oracle() else { return };
    let (mut standard, mut compacted) = (Area([0; 16384]), Area([0; 16384]));
    let mask = oracle.loadable();
    let reader = oracle.reader();
    // SAFETY: an oracle exists only where XSAVE works and all of XCR0 fits; the header is zero.
    unsafe { xsave(standard.0.as_mut_ptr(), mask.bits()) };
    let image = reader.read(&standard.0).unwrap();
    assert_eq!(image.mxcsr() & 0x1F80, 0x1F80, "compiled code runs with all exceptions masked");
    assert_eq!(image.present() - mask, ComponentSet::EMPTY);
    if !oracle.geometry().has_xsavec() {
        return skipped("this machine has no XSAVEC");
    }
    // SAFETY: the CPU has XSAVEC, and the area is long enough.
    unsafe { xsavec(compacted.0.as_mut_ptr(), mask.bits()) };
    assert_eq!(reader.read(&compacted.0).unwrap().layout().components(), mask);
}

#[test]
fn what_was_saved_loads_again() {
    let Some(oracle) = oracle() else { return };
    let (mut area, mut legacy) = (Area([0; 16384]), Area([0; 16384]));
    let mask = oracle.loadable().bits();
    // SAFETY: an oracle exists only where XSAVE works and all of XCR0 fits; the header is zero.
    unsafe { xsave(area.0.as_mut_ptr(), mask) };
    // SAFETY: it holds what is in the registers.
    unsafe { xrstor(area.0.as_ptr(), mask) };
    // SAFETY: the area is aligned and long enough.
    unsafe { fxsave(legacy.0.as_mut_ptr()) };
    // SAFETY: it holds what is in the registers.
    unsafe { fxrstor(legacy.0.as_ptr()) };
    assert_eq!(legacy.0[..2], [0x7F, 0x03], "the x87 control word of compiled code");
    assert_eq!(legacy.0[24..32], area.0[24..32]);
    assert!(legacy.0[416..].iter().all(|byte| *byte == 0));
}

#[test]
fn extended_control_registers_agree_with_cpuid() {
    let Some(oracle) = oracle() else { return };
    assert!(ComponentSet::LEGACY.is_subset_of(oracle.xcr0()));
    assert!(oracle.xcr0().is_subset_of(oracle.geometry().user()));
    const XGETBV1: u32 = 1 << 2;
    if cpuid(0xD, 1).eax & XGETBV1 == 0 {
        return skipped("this machine does not tell what is in use");
    }
    // SAFETY: CPUID has just shown register 1.
    let in_use = ComponentSet::from_bits(unsafe { xgetbv(1) });
    assert!(in_use.is_subset_of(oracle.xcr0()), "{in_use}");
}

#[test]
fn pkru_is_what_xsave_saves() {
    const OSPKE: u32 = 1 << 4;
    if cpuid(0, 0).eax < 7 || cpuid(7, 0).ecx & OSPKE == 0 {
        return skipped("this machine has no protection keys in user mode");
    }
    let Some(oracle) = oracle() else { return };
    let mut area = Area([0; 16384]);
    // SAFETY: an oracle exists only where XSAVE works and all of XCR0 fits; the header is zero.
    unsafe { xsave(area.0.as_mut_ptr(), ComponentSet::from(Component::PKRU).bits()) };
    // SAFETY: OSPKE says that CR4.PKE is set.
    let pkru = unsafe { rdpkru() };
    let reader = Reader::new(oracle.geometry(), oracle.xcr0());
    let image = reader.read(&area.0).unwrap();
    let saved = image.component(Component::PKRU).map_or([0; 4], |bytes| *bytes.first_chunk().unwrap());
    assert_eq!(u32::from_le_bytes(saved), pkru);
}
