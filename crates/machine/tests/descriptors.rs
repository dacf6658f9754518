//! Descriptors that passed the audit, loaded by a CPU.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod guests;

use guests::machine;
use selfsame_machine::{Fault, Machine, Selector, Space, TableRegister};
use selfsame_switch::{AuditedDescriptor, VcpuKind};

const GDT: u64 = 0xFFFF_8200_0000_0000;

/// Whatever a guest writes: if the audit takes it, the guest's kernel gets no inner ring and no system segment by it, loads
/// what it may load, and never makes the CPU write to the table, which is mapped read-only.
#[test]
fn an_audited_descriptor_gives_nothing_of_ring_0_and_is_never_written_to() {
    let mut machine = Machine::new(machine().hardware(), 1);
    let frame = machine.memory().add_frame();
    machine.memory().set_l1_entry(Space::Hypervisor, GDT, frame.l1_entry() & !0x2);
    machine.on(0).unwrap().lgdt(TableRegister { base: GDT, limit: 0xFFF }).unwrap();
    let mut loaded = 0;
    // Access byte and flags: present, DPL, S, type; G, D, L, AVL.
    for bits in 0..1_u64 << 12 {
        let raw = bits & 0xFF | bits >> 8 << 12;
        for (kind, cpl) in [(VcpuKind::Pv64, 3), (VcpuKind::Pv32, 1), (VcpuKind::Pv32, 3)] {
            let Ok(audited) = AuditedDescriptor::new(raw << 40 | 0xFFFF, kind) else { continue };
            machine.memory().set_descriptor(frame, 1, audited.bits());
            let mut cpu = machine.on(0).unwrap();
            cpu.enter_pv(cpl).unwrap();
            for rpl in 0..4 {
                let result = cpu.load_selector(Selector::Es, 8 | rpl);
                assert!(!matches!(result, Err(Fault::PageFault { .. })), "{raw:#x} of {kind:?} is written to");
                loaded += usize::from(result.is_ok());
            }
            let is_present = audited.bits() >> 47 & 1 == 1;
            let (level, is_segment) = (audited.bits() >> 45 & 3, audited.bits() >> 44 & 1 == 1);
            assert!(!is_present || !is_segment || level != 0, "{raw:#x} of {kind:?} is a segment of ring 0");
            // A gate that is left faults when it is used, and the hypervisor carries it out.
            assert!(!is_present || is_segment || level == 0 || audited.bits() >> 40 & 0xF == 0, "{raw:#x} of {kind:?}");
            // Back to ring 0 for the next one: a reset is the way that needs no descriptor.
            machine.reset(0);
            machine.on(0).unwrap().lgdt(TableRegister { base: GDT, limit: 0xFFF }).unwrap();
        }
    }
    assert!(loaded > 0);
}
