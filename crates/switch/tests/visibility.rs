//! What CPUID shows PV guests: faulting, masks, neither.
#![expect(clippy::unwrap_used, reason = "a panic in a test is the failure itself")]

mod stage;

use proptest::prelude::*;
use selfsame_cpuid::{Capability, FaultingControl, Leaves, LevellingCapabilities, Regs, Word};
use selfsame_switch::{Cr4, MaskWrites, Msr, Operation, Platform, Shown, VcpuKind, Visibility, VisibilityWarning};
use stage::{Stage, milan, sandy_bridge, sapphire_rapids, wrmsrs};

const OSXSAVE: u32 = 1 << 27;
const XSAVE: u32 = 1 << 26;
const AVX: u32 = 1 << 28;
const X2APIC: u32 = 1 << 21;
const APIC: u32 = 1 << 9;
const HTT: u32 = 1 << 28;

/// Sandy Bridge-EP: masks for leaves 1, 0x80000001 and 0xD, by AND.
fn sandy_bridge_leaves() -> Leaves {
    let mut raw = Leaves::new();
    raw.set(0, 0, Regs::new(0xD, 0x756e_6547, 0x6c65_746e, 0x4965_6e69)).unwrap();
    raw.set(1, 0, Regs::new(0x0002_06d7, 0, X2APIC | XSAVE | AVX | 1, HTT | APIC | 1)).unwrap();
    raw.set(0xD, 1, Regs::new(1, 0, 0, 0)).unwrap();
    raw
}

/// Zen 3: overrides for leaves 1, 7 and 0x80000001.
fn milan_leaves() -> Leaves {
    let mut raw = Leaves::new();
    raw.set(0, 0, Regs::new(0x10, 0x6874_7541, 0x444d_4163, 0x6974_6e65)).unwrap();
    raw.set(1, 0, Regs::new(0x00a0_0f11, 0, X2APIC | XSAVE | AVX | 1, HTT | APIC | 1)).unwrap();
    raw.set(7, 0, Regs::new(0, 0x219c_97a9, 0, 0)).unwrap();
    raw
}

fn all_of(raw: &Leaves) -> LevellingCapabilities {
    LevellingCapabilities::expected(raw)
}

fn masks(raw: &Leaves, unmasked: u64) -> Visibility {
    let visibility = Visibility::of(raw, all_of(raw), |_| unmasked);
    assert!(matches!(visibility, Visibility::Masks(_)));
    visibility
}

fn numbers(visibility: &Visibility) -> Vec<u32> {
    let Visibility::Masks(masks) = visibility else { return Vec::new() };
    masks.iter().flatten().map(|mask| mask.msr.row().index).collect()
}

/// What a guest sees of a word, by the meaning of the mask that covers it and what ring 0 has in CR4 and APIC_BASE.
fn seen(visibility: &Visibility, shown: &Shown, raw: &Leaves, word: Word) -> u32 {
    let Visibility::Masks(masks) = visibility else { return raw.word(word) };
    for (mask, value) in masks.iter().zip(shown.masks) {
        let Some(row) = mask.map(|mask| mask.msr.row()) else { continue };
        let half = match word {
            word if word == row.low => u32::try_from(value & 0xFFFF_FFFF).unwrap(),
            word if Some(word) == row.high => u32::try_from(value >> 32).unwrap(),
            _ => continue,
        };
        let dynamic = if word == Word::find(1, 0, selfsame_cpuid::Register::Ecx).unwrap() { OSXSAVE } else { 0 };
        return match row.meaning {
            selfsame_cpuid::MaskMeaning::And => (raw.word(word) | dynamic) & half,
            selfsame_cpuid::MaskMeaning::Override => half,
        };
    }
    raw.word(word)
}

fn word(leaf: u32, register: selfsame_cpuid::Register) -> Word {
    Word::find(leaf, 0, register).unwrap()
}

fn leaf_1_ecx() -> Word {
    word(1, selfsame_cpuid::Register::Ecx)
}

#[test]
fn faulting_is_preferred_to_masks_and_masks_to_nothing() {
    let mut both = milan_leaves();
    both.set(0x8000_0021, 0, Regs::new(1 << 17, 0, 0, 0)).unwrap();
    assert_eq!(Visibility::of(&both, all_of(&both), |_| 0), Visibility::Faulting(FaultingControl::AMD));
    let mut without_effect = LevellingCapabilities::EMPTY;
    for capability in all_of(&both).iter().filter(|&capability| capability != Capability::Faulting) {
        without_effect.insert(capability);
    }
    assert_eq!(numbers(&Visibility::of(&both, without_effect, |_| 0)), [0xc001_1002, 0xc001_1004, 0xc001_1005]);
    assert_eq!(Visibility::of(&both, LevellingCapabilities::EMPTY, |_| 0), Visibility::Emulated);
}

#[test]
fn a_mask_of_which_one_half_has_no_effect_is_not_used() {
    let raw = sandy_bridge_leaves();
    let mut probed = all_of(&raw);
    assert_eq!(numbers(&Visibility::of(&raw, probed, |_| u64::MAX)), [0x132, 0x133, 0x134]);
    let mut lost = LevellingCapabilities::EMPTY;
    lost.insert(Capability::Mask(leaf_1_ecx()));
    probed = probed.minus(lost);
    assert_eq!(numbers(&Visibility::of(&raw, probed, |_| u64::MAX)), [0x133, 0x134]);
}

#[test]
fn osxsave_is_what_the_guest_has_in_its_cr4_by_and_and_by_override() {
    for raw in [sandy_bridge_leaves(), milan_leaves()] {
        let visibility = masks(&raw, u64::MAX);
        let off = Shown::pv(&visibility, &raw, &raw, 0);
        let on = Shown::pv(&visibility, &raw, &raw, Cr4::OSXSAVE);
        assert_ne!(off, on);
        assert_eq!(seen(&visibility, &off, &raw, leaf_1_ecx()) & OSXSAVE, 0);
        assert_eq!(seen(&visibility, &on, &raw, leaf_1_ecx()) & OSXSAVE, OSXSAVE);

        let mut without_xsave = raw.clone();
        without_xsave.set(1, 0, Regs { ecx: 1, ..raw.get(1, 0) }).unwrap();
        let shown = Shown::pv(&visibility, &raw, &without_xsave, Cr4::OSXSAVE);
        assert_eq!(seen(&visibility, &shown, &raw, leaf_1_ecx()) & OSXSAVE, 0);
    }
}

#[test]
fn what_other_leaves_depend_on_stays_the_machines() {
    for raw in [sandy_bridge_leaves(), milan_leaves()] {
        let visibility = masks(&raw, u64::MAX);
        let mut policy = raw.clone();
        policy.set(1, 0, Regs { ecx: 1, edx: APIC | 1, ..raw.get(1, 0) }).unwrap();
        let shown = Shown::pv(&visibility, &raw, &policy, 0);
        let edx = seen(&visibility, &shown, &raw, word(1, selfsame_cpuid::Register::Edx));
        assert_eq!(edx & (HTT | APIC), HTT | APIC, "APIC is forwarded, as the policy has it");
        assert_eq!(seen(&visibility, &shown, &raw, leaf_1_ecx()), X2APIC | 1);
    }
}

#[test]
fn an_override_of_7_eax_is_the_number_of_the_policy() {
    let mut raw = milan_leaves();
    raw.set(7, 0, Regs { eax: 2, ..raw.get(7, 0) }).unwrap();
    let visibility = masks(&raw, 0);
    let mut policy = raw.clone();
    policy.set(7, 0, Regs { eax: 1, ..raw.get(7, 0) }).unwrap();
    let shown = Shown::pv(&visibility, &raw, &policy, 0);
    assert_eq!(shown.masks[0], 1 << 32 | 0x219c_97a9);
}

#[test]
fn what_the_firmware_masks_stays_masked_and_halves_without_a_word_stay_as_they_were() {
    let raw = sandy_bridge_leaves();
    let visibility = masks(&raw, 0xABCD_0000_EFFF_FFFF);
    let shown = Shown::pv(&visibility, &raw, &raw, 0);
    assert_eq!(shown.masks[0] & u64::from(AVX), 0, "leaf 1 ECX, bit 28");
    assert_eq!(shown.masks[2], 0xABCD_0000_0000_0001, "0xD:1 EAX alone");
}

#[test]
fn masks_are_written_for_pv_only_and_not_between_equal_guests() {
    let raw = milan_leaves();
    let visibility = masks(&raw, 0);
    let mut stage = Stage::new(Platform { visibility, ..milan() });
    let shown = Shown::pv(&visibility, &raw, &raw, 0);
    let other = Shown::pv(&visibility, &raw, &raw, Cr4::OSXSAVE);
    let add = |stage: &mut Stage, kind, domain, shown| {
        let vcpu = stage.add(kind, domain, 0);
        stage.vcpus[vcpu].shown = shown;
        vcpu
    };
    let (a, equal) = (add(&mut stage, VcpuKind::Pv64, 1, shown), add(&mut stage, VcpuKind::Pv64, 2, shown));
    let (hvm, different) =
        (add(&mut stage, VcpuKind::Hvm, 3, Shown::default()), add(&mut stage, VcpuKind::Pv32, 4, other));
    let mask_writes = |operations: Vec<Operation>| {
        operations
            .iter()
            .filter(
                |operation| matches!(operation, Operation::Wrmsr(write) if matches!(write.msr(), Msr::CpuidMask(_))),
            )
            .count()
    };
    assert_eq!(mask_writes(stage.run(0, a)), 3);
    assert_eq!(mask_writes(stage.run(0, equal)), 0);
    assert_eq!(mask_writes(stage.run(0, hvm)), 0, "CPUID exits");
    assert_eq!(mask_writes(stage.run(0, equal)), 0, "lazy: nobody has touched them");
    assert_eq!(mask_writes(stage.run(0, different)), 1, "leaf 1 alone");
    let counted = stage.cpus[0].switcher.mask_writes();
    assert_eq!(counted, MaskWrites { switches: 4, writes: 4 });

    // The guest clears CR4.OSXSAVE: the value is the vCPU's, not its domain's.
    stage.vcpus[different].shown = shown;
    let cpu = &mut stage.cpus[0];
    cpu.switcher.refresh(&mut cpu.trace, &mut stage.vcpus[different]).unwrap();
    assert_eq!(mask_writes(cpu.taken()), 1);
    assert_eq!(cpu.switcher.mask_writes(), MaskWrites { switches: 4, writes: 5 });
}

#[test]
fn the_hypervisor_unmasks_before_it_asks_and_the_guests_masks_come_back() {
    let raw = sandy_bridge_leaves();
    let visibility = masks(&raw, u64::MAX);
    let mut stage = Stage::new(Platform { visibility, ..sandy_bridge() });
    let vcpu = stage.add(VcpuKind::Pv64, 1, 0);
    stage.vcpus[vcpu].shown = Shown::pv(&visibility, &raw, &raw, 0);
    stage.run(0, vcpu);
    let cpu = &mut stage.cpus[0];
    cpu.switcher.unmask(&mut cpu.trace);
    let writes: Vec<_> = cpu.taken();
    assert_eq!(writes.len(), 3);
    assert!(writes.iter().all(|operation| matches!(operation, Operation::Wrmsr(write) if write.value() == u64::MAX)));
    cpu.switcher.refresh(&mut cpu.trace, &mut stage.vcpus[vcpu]).unwrap();
    assert_eq!(cpu.taken().len(), 3);
}

#[test]
fn faulting_is_on_under_pv_and_as_the_guest_has_it_under_hvm() {
    for (platform, msr, bit) in [(sapphire_rapids(), Msr::MiscFeaturesEnables, 0), (milan(), Msr::Hwcr, 35)] {
        let mut stage = Stage::with_own(platform, |own| own.faulting_register = 0x1_0000_0100);
        let (pv, hvm) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Hvm, 2, 0));
        let (other, manager) = (stage.add(VcpuKind::Pv64, 3, 0), stage.add(VcpuKind::Pv64, 0, 0));
        let asked = stage.add(VcpuKind::Hvm, 4, 0);
        stage.vcpus[manager].shown.is_faulting = false;
        stage.vcpus[asked].shown.is_faulting = true;
        let on = 0x1_0000_0100 | 1 << bit;
        assert_eq!(wrmsrs(&stage.run(0, pv), msr), [on], "the register's other bits stay");
        assert_eq!(wrmsrs(&stage.run(0, other), msr), [0; 0]);
        assert_eq!(wrmsrs(&stage.run(0, asked), msr), [0; 0]);
        assert_eq!(wrmsrs(&stage.run(0, hvm), msr), [0x1_0000_0100]);
        assert_eq!(wrmsrs(&stage.run(0, manager), msr), [0; 0]);
        assert_eq!(wrmsrs(&stage.run(0, pv), msr), [on]);
    }
}

#[test]
fn without_hardware_nothing_is_written_and_the_administrator_is_warned() {
    let raw = sandy_bridge_leaves();
    let none = LevellingCapabilities::EMPTY;
    assert_eq!(Visibility::Emulated.warning(&Leaves::new(), none), Some(VisibilityWarning::NoHardware));
    let missing = Visibility::Emulated.warning(&raw, none);
    assert_eq!(missing, Some(VisibilityWarning::Missing(all_of(&raw))));
    assert!(missing.unwrap().to_string().ends_with("mask:80000001.ecx mask:80000001.edx"));
    assert_eq!(masks(&raw, 0).warning(&raw, all_of(&raw)), None);
    let faulting = Visibility::Faulting(FaultingControl::INTEL);
    assert_eq!(faulting.warning(&raw, none), None, "what faulting decides needs no masks");

    let mut stage = Stage::new(sandy_bridge());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    stage.run(0, a);
    let operations = stage.run(0, b);
    let is_visibility = |operation: &&Operation| {
        let Operation::Wrmsr(write) = operation else { return false };
        matches!(write.msr(), Msr::CpuidMask(_) | Msr::MiscFeaturesEnables | Msr::Hwcr)
    };
    assert_eq!(operations.iter().filter(is_visibility).count(), 0);
}

#[test]
fn the_missing_words_of_a_warning_are_those_that_were_expected_and_do_not_work() {
    let raw = sandy_bridge_leaves();
    let mut lost = LevellingCapabilities::EMPTY;
    lost.insert(Capability::Mask(leaf_1_ecx()));
    let probed = all_of(&raw).minus(lost);
    let visibility = Visibility::of(&raw, probed, |_| 0);
    assert_eq!(visibility.warning(&raw, probed), Some(VisibilityWarning::Missing(lost)));
}

#[test]
fn many_writes_warn_and_few_do_not() {
    let count = |switches, writes| MaskWrites { switches, writes };
    assert_eq!(count(999, 999).warning(), None, "too few to tell");
    assert_eq!(count(1000, 499).warning(), None);
    assert_eq!(count(1000, 500).warning(), Some(VisibilityWarning::ManyWrites(count(1000, 500))));
    assert_eq!(count(999, 1).and(count(1, 499)).warning(), Some(VisibilityWarning::ManyWrites(count(1000, 500))));
    assert!(count(1000, 900).warning().unwrap().to_string().starts_with("900 writes of masking MSRs in 1000 switches"));
}

#[test]
fn words_that_no_hardware_levels_are_named() {
    let raw = milan_leaves();
    let mut policy = raw.clone();
    policy.set(7, 0, Regs { ebx: 0, ecx: 4, ..raw.get(7, 0) }).unwrap();
    let names =
        |visibility: Visibility| visibility.unlevelled(&raw, &policy).map(|word| word.to_string()).collect::<Vec<_>>();
    assert_eq!(names(masks(&raw, 0)), ["00000007.0.ecx"], "7.0.ebx has a mask");
    assert_eq!(names(Visibility::Emulated), ["00000007.0.ebx", "00000007.0.ecx"]);
    assert_eq!(names(Visibility::Faulting(FaultingControl::AMD)), [""; 0]);
}

proptest! {
    /// Whatever the policy, a guest sees of a masked word its policy, but for the machine's three bits and OSXSAVE; by AND only
    /// what the machine has.
    #[test]
    fn a_masked_word_shows_the_policy(ecx: u32, edx: u32, is_amd: bool, has_osxsave: bool) {
        let raw = if is_amd { milan_leaves() } else { sandy_bridge_leaves() };
        let visibility = masks(&raw, u64::MAX);
        let mut policy = raw.clone();
        policy.set(1, 0, Regs { ecx, edx, ..raw.get(1, 0) }).unwrap();
        let shown = Shown::pv(&visibility, &raw, &policy, if has_osxsave { Cr4::OSXSAVE } else { 0 });
        let osxsave = if has_osxsave && ecx & XSAVE != 0 { OSXSAVE } else { 0 };
        let limit = |word| if is_amd { u32::MAX } else { raw.word(word) | OSXSAVE };
        let (ecx_word, edx_word) = (leaf_1_ecx(), word(1, selfsame_cpuid::Register::Edx));
        let machines = raw.word(ecx_word) & X2APIC;
        prop_assert_eq!(
            seen(&visibility, &shown, &raw, ecx_word),
            (ecx & !OSXSAVE | machines | osxsave) & limit(ecx_word)
        );
        let edx_limit = if is_amd { u32::MAX } else { raw.word(edx_word) };
        prop_assert_eq!(seen(&visibility, &shown, &raw, edx_word), (edx | raw.word(edx_word) & HTT) & edx_limit);
    }
}
