//! What it costs to plan a switch: all of it but what the CPU does with the writes.
#![expect(unsafe_code, reason = "UNSAFETY: only the operands of an instruction are what it costs the plan")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up fails")]

use std::arch::asm;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use selfsame_switch::{
    AreaAddress, Bitness, Cpu, Cr3, Cr4, DebugRegister, DomainId, Extended, Gdtr, GuestSlot, GuestXss, L1Entry, Ldt,
    Msr, MsrWrite, Platform, Register, Registers, Segment, SegmentFault, Selector, Selectors, Shown, Switcher, Vcpu,
    VcpuId, VcpuKind, VcpuName, XstateStep,
};
use selfsame_xstate::Xcr0;

#[path = "../../xstate/benches/least/mod.rs"]
mod least;
#[path = "../../switch/tests/stage/platforms.rs"]
#[allow(dead_code, reason = "the tests of switches use the others")]
mod platforms;

use least::least;
use platforms::{milan, own, sapphire_rapids};

/// A CPU that takes every write and does nothing: each operation wants its operands in the registers where the instruction of
/// `Ring0` has them, with the same effect on memory as far as the compiler knows, and leaves the instruction out.
#[derive(Default)]
struct Sink {
    selectors: Selectors,
    bases: Registers,
}

/// An instruction with one operand that is left out.
macro_rules! take {
    ($value:expr) => {{
        // SAFETY: nothing is executed.
        unsafe { asm!("/* {0:r} */", in(reg) $value, options(readonly, nostack, preserves_flags)) }
    }};
}

/// The same for one whose effect on memory the compiler cannot know.
macro_rules! take_and_clobber {
    ($value:expr) => {{
        // SAFETY: nothing is executed.
        unsafe { asm!("/* {0:r} */", in(reg) $value, options(nostack, preserves_flags)) }
    }};
}

#[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
const fn halves(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}

/// The same for one that takes a number in ECX and a value in EDX:EAX.
macro_rules! take_halves {
    ($number:expr, $value:expr) => {{
        let (low, high) = halves($value);
        // SAFETY: nothing is executed.
        unsafe { asm!("", in("ecx") $number, in("eax") low, in("edx") high, options(nostack, preserves_flags)) }
    }};
}

/// An instruction that reads a register: what comes out the compiler cannot know.
macro_rules! give {
    ($value:expr) => {{
        let mut value = $value;
        // SAFETY: nothing is executed.
        unsafe { asm!("/* {0:r} */", inout(reg) value, options(nomem, nostack, preserves_flags)) };
        value
    }};
}

impl Cpu for Sink {
    #[inline]
    fn wrmsr(&mut self, write: MsrWrite) {
        take_halves!(write.msr().number(), write.value());
    }

    #[inline]
    fn rdmsr(&mut self, msr: Msr) -> u64 {
        take!(msr.number());
        0
    }

    #[inline]
    fn read_base(&mut self, register: Register) -> u64 {
        give!(self.bases.get(register))
    }

    #[inline]
    fn xsetbv(&mut self, xcr0: Xcr0) {
        take_halves!(0, xcr0.bits());
    }

    fn xstate_step(&mut self, step: &XstateStep) {
        take_and_clobber!(step);
    }

    #[inline]
    fn lgdt(&mut self, gdtr: Gdtr) {
        black_box(gdtr);
    }

    fn write_ldt_descriptor(&mut self, bitness: Bitness, ldt: Ldt) {
        black_box((bitness, ldt));
    }

    #[inline]
    fn lldt(&mut self, selector: Selector) {
        take!(selector.value());
    }

    #[inline]
    fn write_l1(&mut self, slot: GuestSlot, entry: L1Entry) {
        black_box((slot, entry));
    }

    #[inline]
    fn invlpg(&mut self, slot: GuestSlot) {
        take_and_clobber!(slot.linear());
    }

    #[inline]
    fn write_cr3(&mut self, cr3: Cr3) {
        take_and_clobber!(cr3.bits());
    }

    #[inline]
    fn write_cr4(&mut self, cr4: Cr4) {
        take_and_clobber!(cr4.bits());
    }

    fn set_task_switched(&mut self) {}

    fn clear_task_switched(&mut self) {}

    #[inline]
    fn selector(&mut self, segment: Segment) -> Selector {
        Selector::new(give!(self.selectors.get(segment).value()))
    }

    #[inline]
    fn load_selector(&mut self, segment: Segment, selector: Selector) -> Result<(), SegmentFault> {
        black_box(segment);
        take!(u32::from(selector.value()));
        Ok(())
    }

    #[inline]
    fn read_debug(&mut self, register: DebugRegister) -> u64 {
        black_box(register);
        0
    }

    fn write_debug(&mut self, register: DebugRegister, value: u64) {
        black_box(register);
        take!(value);
    }
}

/// A vCPU whose every register differs from those of the others.
fn vcpu(platform: &Platform, kind: VcpuKind, number: u16) -> Vcpu {
    let far = u64::from(number);
    let name = VcpuName::new(DomainId::new(number), VcpuId::new(0).unwrap());
    let mut extended = Extended::new(AreaAddress::new(far * 0x10000).unwrap());
    extended.xsetbv(platform.xcr0);
    extended.set_xss(GuestXss::Own(platform.xss));
    let shown = Shown { is_faulting: kind != VcpuKind::Hvm, ..Shown::default() };
    let mut vcpu = Vcpu::new(name, kind, extended, Cr3::new(far << 12).unwrap(), shown);
    for register in Register::ALL {
        vcpu.registers.set(register, far);
    }
    vcpu.guest_cr4 = Cr4::FSGSBASE;
    vcpu
}

/// Two vCPUs take turns on a CPU: the switch, the entry and the exit of one turn.
fn turns(c: &mut Criterion, name: &str, platform: &Platform, kinds: [VcpuKind; 2]) {
    let mut cpu = Sink::default();
    let mut switcher = Switcher::bring_up(platform, own(0), &mut cpu);
    let (mut a, mut b) = (vcpu(platform, kinds[0], 1), vcpu(platform, kinds[1], 2));
    let _ = switcher.switch(&mut cpu, None, &mut a).unwrap();
    let _ = switcher.enter(&a).unwrap();
    let mut turn = |from: &mut Vcpu, to: &mut Vcpu| {
        let _ = black_box(switcher.switch(&mut cpu, Some(from), to).unwrap());
        let entry = switcher.enter(to).unwrap();
        black_box(&entry);
        from.residence.release();
        switcher.exited(&mut cpu, to).unwrap();
    };
    // Both directions are one iteration: the figure is that of two switches.
    c.bench_function(&format!("two switches, {name}"), |bencher| {
        least(bencher, || {
            turn(&mut a, &mut b);
            turn(&mut b, &mut a);
        });
    });
}

fn plan(c: &mut Criterion) {
    let (vmx, svm) = (sapphire_rapids(), milan());
    turns(c, "pv to pv", &vmx, [VcpuKind::Pv64, VcpuKind::Pv64]);
    turns(c, "hvm to hvm, vmx", &vmx, [VcpuKind::Hvm, VcpuKind::Hvm]);
    turns(c, "hvm to hvm, svm", &svm, [VcpuKind::Hvm, VcpuKind::Hvm]);
    turns(c, "pv to hvm to pv, vmx", &vmx, [VcpuKind::Pv64, VcpuKind::Hvm]);
}

criterion_group!(benches, plan);
criterion_main!(benches);
