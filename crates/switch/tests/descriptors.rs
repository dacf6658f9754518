//! The audit of descriptors that PV guests write.

use proptest::prelude::*;
use selfsame_switch::gdt::{FIRST_HYPERVISOR_SELECTOR, GUEST_DESCRIPTORS};
use selfsame_switch::{AuditedDescriptor, DescriptorError, DescriptorPlace, TableSizes, VcpuKind};

const PRESENT: u64 = 1 << 47;
const LONG: u64 = 1 << 53;

/// A flat segment: type with the S bit, privilege level.
fn segment(kind: u64, level: u64) -> u64 {
    0x00CF_0000_0000_FFFF | PRESENT | (kind | 0x10) << 40 | level << 45
}

fn gate(selector: u16, level: u64) -> u64 {
    PRESENT | 0xC << 40 | level << 45 | u64::from(selector) << 16 | 0x1234
}

fn level(descriptor: AuditedDescriptor) -> u64 {
    descriptor.bits() >> 45 & 3
}

#[test]
fn code_and_data_get_the_privilege_of_the_guests_kernel_at_least() {
    for kind in 0..16 {
        for own_level in 0..4 {
            let of = |guest| AuditedDescriptor::new(segment(kind, own_level), guest).unwrap();
            assert_eq!(level(of(VcpuKind::Pv64)), if own_level == 0 { 3 } else { own_level });
            assert_eq!(level(of(VcpuKind::Pv32)), own_level.max(1));
            assert_eq!(of(VcpuKind::Pv64).bits() >> 40 & 1, 1, "accessed: the CPU cannot mark it in a read-only table");
        }
    }
}

#[test]
fn long_code_is_for_64_bit_guests() {
    let long = segment(0xA, 3) | LONG;
    assert!(AuditedDescriptor::new(long, VcpuKind::Pv64).is_ok());
    assert_eq!(AuditedDescriptor::new(long, VcpuKind::Pv32), Err(DescriptorError::LongCode));
}

#[test]
fn of_system_descriptors_only_call_gates_are_taken() {
    for system_type in 1..16_u8 {
        let bits = gate(0x10, 3) & !(0xF << 40) | u64::from(system_type) << 40;
        let audited = AuditedDescriptor::new(bits, VcpuKind::Pv64);
        match system_type {
            0xC => assert!(audited.is_ok()),
            _ => assert_eq!(audited, Err(DescriptorError::SystemType { system_type })),
        }
    }
}

#[test]
fn what_is_not_present_is_taken_as_it_is() {
    for bits in [0, 0x1234_5678_9ABC_DEF0 & !PRESENT, gate(FIRST_HYPERVISOR_SELECTOR, 0) & !PRESENT, 0xFFFF_8300] {
        for kind in [VcpuKind::Pv64, VcpuKind::Pv32] {
            assert_eq!(AuditedDescriptor::new(bits, kind).unwrap().bits(), bits);
        }
    }
}

#[test]
fn a_call_gate_faults_when_used_and_keeps_its_level_in_its_selector() {
    for own_level in 0..4 {
        let audited = AuditedDescriptor::new(gate(0x33, own_level), VcpuKind::Pv64).unwrap();
        assert_eq!(level(audited), 0);
        assert_eq!(audited.gate_level().map(u64::from), Some(if own_level == 0 { 3 } else { own_level }));
        assert_eq!(audited.bits() >> 18 & 0x3FFF, 0x33 >> 2, "the selector's index and table");
    }
    assert_eq!(AuditedDescriptor::new(segment(2, 3), VcpuKind::Pv64).unwrap().gate_level(), None);
}

#[test]
fn call_gates_lead_to_the_guests_own_segments_only() {
    for selector in [0x8, 0x7, GUEST_DESCRIPTORS * 8 - 8, GUEST_DESCRIPTORS * 8 + 4] {
        assert!(AuditedDescriptor::new(gate(selector, 3), VcpuKind::Pv64).is_ok(), "{selector:#x}");
    }
    for selector in [FIRST_HYPERVISOR_SELECTOR, 0xE008, 0xE033, 0xFFF8] {
        let refused = AuditedDescriptor::new(gate(selector, 3), VcpuKind::Pv64);
        assert_eq!(refused, Err(DescriptorError::GateTarget { selector }));
    }
}

#[test]
fn reserved_bits_of_gates_are_zero() {
    for bit in 0..8 {
        let bits = gate(0x10, 3) | 1 << (32 + bit);
        assert_eq!(AuditedDescriptor::new(bits, VcpuKind::Pv64), Err(DescriptorError::GateReserved { bits: 1 << bit }));
        assert_eq!(
            AuditedDescriptor::new(bits, VcpuKind::Pv32).is_ok(),
            bit < 5,
            "32-bit gates count parameters there"
        );
    }
}

#[test]
fn hvm_guests_are_not_audited() {
    assert_eq!(AuditedDescriptor::new(0, VcpuKind::Hvm), Err(DescriptorError::NotPv));
}

#[test]
fn emulation_reads_no_descriptor_beyond_a_limit_xsa_298() {
    let sizes = TableSizes::new(16, 3).unwrap();
    for selector in 0..=u16::MAX {
        let number = selector / 8;
        let expected = match selector & 4 {
            0 => (1..16).contains(&number).then_some(DescriptorPlace::Gdt(number)),
            _ => (number < 3).then_some(DescriptorPlace::Ldt(number)),
        };
        assert_eq!(sizes.find(selector), expected, "{selector:#06x}");
    }
    assert_eq!(TableSizes::new(GUEST_DESCRIPTORS + 1, 0), None, "the hypervisor's begin there");
    assert_eq!(TableSizes::new(0, 8193), None);
}

proptest! {
    #[test]
    fn nothing_that_is_taken_gives_ring_0_or_a_system_segment(bits: u64, is_64_bit: bool) {
        let kind = if is_64_bit { VcpuKind::Pv64 } else { VcpuKind::Pv32 };
        if let Ok(audited) = AuditedDescriptor::new(bits, kind) {
            let is_present = audited.bits() & PRESENT != 0;
            let is_segment = audited.bits() >> 44 & 1 == 1;
            let system_type = audited.bits() >> 40 & 0xF;
            prop_assert!(!is_present || is_segment || matches!(system_type, 0 | 0xC));
            prop_assert!(!is_present || !is_segment || level(audited) > 0);
            prop_assert!(!is_present || system_type != 0xC || is_segment || level(audited) == 0);
            prop_assert_eq!(AuditedDescriptor::new(audited.bits(), kind).map(|again| again.bits() | 3 << 16 | 3 << 45),
                Ok(audited.bits() | 3 << 16 | 3 << 45), "but for levels, an audited descriptor is taken as it is");
        }
    }
}
