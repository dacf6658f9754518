//! Into HVM guests and out of them: XFD, XFD_ERR, CR0.TS, levels of nesting.
#![expect(clippy::unwrap_used, reason = "a panic in a test is the failure itself")]

mod stage;

use selfsame_switch::{DeviceNotAvailable, GuestXfd, Msr, Operation, VcpuKind};
use selfsame_xstate::{Component, Geometry, XfdWrites, wrmsr_xfd, wrmsr_xfd_err};
use stage::{Stage, count, milan, position, sapphire_rapids, set, wrmsrs, xsetbvs};

const TILE_DATA: u64 = 1 << 18;

fn is_rdmsr(operation: &Operation) -> bool {
    matches!(operation, Operation::Rdmsr(_))
}

fn is_write_of(msr: Msr) -> impl Fn(&Operation) -> bool {
    move |operation| matches!(operation, Operation::Wrmsr(write) if write.msr() == msr)
}

/// A guest with AMX that passes writes of XFD through.
fn with_amx(stage: &mut Stage, is_intercepted: bool) -> usize {
    let vcpu = stage.add(VcpuKind::Hvm, 1, stage.vcpus.len().try_into().unwrap());
    stage.give_xfd(vcpu, GuestXfd::new(is_intercepted));
    stage.xsetbv(vcpu, 0x6_0007);
    vcpu
}

/// The registers of a guest whose writes of XFD are intercepted.
fn guest_xfd(xfd: u64, xfd_err: u64) -> GuestXfd {
    let (mut guest, geometry) = (GuestXfd::new(true), xfd_of_18_and_19());
    guest.write_xfd(wrmsr_xfd(xfd, XfdWrites::PassedThrough, &geometry).unwrap());
    guest.write_xfd_err(wrmsr_xfd_err(xfd_err, XfdWrites::PassedThrough, &geometry).unwrap());
    guest
}

#[test]
fn a_guest_without_xfd_pays_nothing() {
    let mut stage = Stage::new(sapphire_rapids());
    let vcpu = stage.add(VcpuKind::Hvm, 1, 0);
    let first = stage.run(0, vcpu);
    assert_eq!(count(&first, is_rdmsr), 0);
    assert_eq!(wrmsrs(&first, Msr::Xfd), [0; 0]);
    assert_eq!(wrmsrs(&first, Msr::XfdErr), [0; 0]);
    assert_eq!(stage.run(0, vcpu), []);
}

#[test]
fn a_run_with_xfd_reads_two_registers_and_one_if_writes_are_intercepted() {
    let mut stage = Stage::new(sapphire_rapids());
    let (passed_through, intercepted) = (with_amx(&mut stage, false), with_amx(&mut stage, true));
    assert_eq!(count(&stage.run(0, passed_through), is_rdmsr), 2);
    assert_eq!(stage.run(0, passed_through), [Operation::Rdmsr(Msr::XfdErr), Operation::Rdmsr(Msr::Xfd)]);
    stage.run(0, intercepted);
    assert_eq!(stage.run(0, intercepted), [Operation::Rdmsr(Msr::XfdErr)]);
}

#[test]
fn the_guests_values_go_in_last_and_come_out_before_anything_moves() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (with_amx(&mut stage, false), with_amx(&mut stage, false));
    let mut guest = guest_xfd(TILE_DATA, TILE_DATA);
    guest.is_intercepted = false;
    for vcpu in [a, b] {
        stage.give_xfd(vcpu, guest);
    }
    stage.switch(0, a);
    let entered = stage.enter(0, a);
    let load = position(&entered, |operation| matches!(operation, Operation::Load(..)));
    let (error, xfd) = (position(&entered, is_write_of(Msr::XfdErr)), position(&entered, is_write_of(Msr::Xfd)));
    assert!(load < error && error < xfd);
    assert_eq!(xfd, entered.len() - 1);
    assert!(xsetbvs(&entered).len() <= 2);

    let left = stage.exit(0, a);
    assert_eq!(wrmsrs(&left, Msr::XfdErr), [0]);
    assert_eq!(wrmsrs(&left, Msr::Xfd), [0]);
    assert!(
        position(&left, is_write_of(Msr::XfdErr)) < position(&left, is_write_of(Msr::Xfd)),
        "no #NM of the host meets the guest's XFD_ERR"
    );
    let operations = stage.run(0, b);
    let save = position(&operations, |operation| matches!(operation, Operation::Save(..)));
    assert!(
        save < position(&operations, is_write_of(Msr::Xfd)),
        "saved under zero: disabled components keep their data"
    );
}

#[test]
fn xfd_err_is_never_left_for_the_host_or_the_next_guest() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (with_amx(&mut stage, true), with_amx(&mut stage, true));
    stage.switch(0, a);
    stage.enter(0, a);
    stage.cpus[0].trace.xfd_err = TILE_DATA;
    stage.exit(0, a);
    assert_eq!(stage.cpus[0].trace.xfd_err, 0);
    assert_eq!(stage.vcpus[a].extended.xfd().unwrap().xfd_err(), set(TILE_DATA));

    stage.switch(0, b);
    stage.enter(0, b);
    assert_eq!(stage.cpus[0].trace.xfd_err, 0);
    stage.exit(0, b);
    stage.switch(0, a);
    stage.enter(0, a);
    assert_eq!(stage.cpus[0].trace.xfd_err, TILE_DATA, "it has not answered it yet");
}

#[test]
fn a_value_that_the_guest_wrote_without_an_exit_follows_it() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (with_amx(&mut stage, false), stage.add(VcpuKind::Hvm, 2, 0));
    stage.switch(0, a);
    stage.enter(0, a);
    stage.cpus[0].trace.xfd = TILE_DATA;
    stage.exit(0, a);
    assert_eq!(stage.cpus[0].trace.xfd, 0);
    stage.run(0, b);
    assert_eq!(stage.vcpus[a].residence.cpu(), None, "b's step has saved it");
    stage.switch(1, a);
    stage.enter(1, a);
    assert_eq!(stage.cpus[1].trace.xfd, TILE_DATA);
}

#[test]
fn nm_by_task_switched_has_no_payload_whatever_xfd_err_holds() {
    let (guest, quiet, answered) = (guest_xfd(TILE_DATA, TILE_DATA), guest_xfd(TILE_DATA, 0), guest_xfd(0, TILE_DATA));
    let (ts, none) = (0x8000_003B, 0x8000_0033);
    assert_eq!(DeviceNotAvailable::of(ts, Some(&guest)), DeviceNotAvailable::TaskSwitched);
    assert_eq!(DeviceNotAvailable::of(ts, None), DeviceNotAvailable::TaskSwitched);
    assert_eq!(DeviceNotAvailable::of(none, Some(&guest)), DeviceNotAvailable::Disabled(set(TILE_DATA)));
    assert_eq!(DeviceNotAvailable::of(none, Some(&quiet)), DeviceNotAvailable::Emulated);
    assert_eq!(DeviceNotAvailable::of(none, Some(&answered)), DeviceNotAvailable::Emulated, "an old error");
    assert_eq!(DeviceNotAvailable::of(none, None), DeviceNotAvailable::Emulated);
}

#[test]
fn task_switched_is_set_last_and_cleared_first() {
    let mut stage = Stage::new(milan());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    stage.vcpus[a].has_task_switched = true;
    stage.switch(0, a);
    let entered = stage.enter(0, a);
    assert_eq!(entered.last(), Some(&Operation::SetTaskSwitched));
    assert_eq!(stage.exit(0, a), [Operation::ClearTaskSwitched]);
    let other = stage.run(0, b);
    assert_eq!(count(&other, |operation| matches!(operation, Operation::SetTaskSwitched)), 0);
    assert_eq!(count(&other, |operation| matches!(operation, Operation::ClearTaskSwitched)), 0);
}

/// A CPU on which XFD covers component 19 too, as no real one does.
fn xfd_of_18_and_19() -> Geometry {
    Geometry::read(|subleaf| match subleaf {
        0 => [0xE_0007, 0x240, 0x2B00, 0],
        1 => [0x1F, 0x240, 0, 0],
        2 => [256, 0x240, 0, 0],
        17 => [64, 0xAC0, 2, 0],
        18 => [8192, 0xB00, 6, 0],
        19 => [128, 0x3C0, 4, 0],
        _ => [0; 4],
    })
}

#[test]
fn guests_enable_18_19_or_both_and_disable_them_one_by_one() {
    let geometry = xfd_of_18_and_19();
    let configurations = selfsame_xstate::Configurations::new(&geometry).unwrap();
    let platform = selfsame_switch::Platform {
        xcr0: configurations.host_xcr0(),
        xss: configurations.host_xss(),
        supervisor: configurations.supervisor(),
        ..sapphire_rapids()
    };
    let (tiles, registers) = (0x6_0000, 1 << 19);
    for (states, disabled) in [
        (tiles, TILE_DATA),
        (registers, registers),
        (tiles | registers, TILE_DATA | registers),
        (tiles | registers, registers),
    ] {
        let mut stage = Stage::new(platform);
        let vcpu = stage.add(VcpuKind::Hvm, 1, 0);
        let mut guest = GuestXfd::new(true);
        let writes = XfdWrites::Intercepted { policy: set(0x7 | states) };
        guest.write_xfd(wrmsr_xfd(disabled, writes, &geometry).unwrap());
        guest.write_xfd_err(wrmsr_xfd_err(disabled, writes, &geometry).unwrap());
        stage.give_xfd(vcpu, guest);
        stage.xsetbv(vcpu, 0x7 | states);
        stage.run(1, vcpu);
        stage.flush(1, vcpu);
        stage.switch(0, vcpu);
        let entered = stage.enter(0, vcpu);
        assert_eq!(
            stage::loaded(&entered).unwrap().1,
            set(0x7 | states),
            "disabled components are moved like the others"
        );
        assert_eq!(wrmsrs(&entered, Msr::Xfd), [disabled]);
        assert_eq!(xsetbvs(&entered), [0x7 | states], "one XSETBV is wide and final");
    }
    assert!(wrmsr_xfd(registers, XfdWrites::Intercepted { policy: set(tiles) }, &geometry).is_err());
}

#[test]
fn tile_data_that_xfd_disables_is_saved_and_loaded_like_the_rest() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (with_amx(&mut stage, true), stage.add(VcpuKind::Pv64, 2, 0));
    stage.give_xfd(a, guest_xfd(TILE_DATA, 0));
    stage.run(0, a);
    assert!(stage::saved(&stage.run(0, b)).unwrap().1.contains(Component::XTILEDATA));
}

/// L1 is a hypervisor like this one, and what it does to its CPU is done to the vCPU of L0.
struct Nested {
    /// L0's vCPU 0 is L1's CPU.
    l0: Stage,
}

impl Nested {
    const CPU: usize = 0;
    const L1: usize = 0;

    /// L1, which has no AMX state of its own in use, ready to run L2.
    fn new() -> Self {
        let mut l0 = Stage::new(sapphire_rapids());
        let l1 = l0.add(VcpuKind::Hvm, 1, 0);
        l0.give_xfd(l1, GuestXfd::new(false));
        l0.xsetbv(l1, 0x6_0007);
        l0.switch(Self::CPU, l1);
        Self { l0 }
    }

    /// VM entry by L0, into L1 or L2: VMX keeps XFD and XFD_ERR as they are in either direction.
    fn enter(&mut self) {
        self.l0.enter(Self::CPU, Self::L1);
    }

    fn exit(&mut self) {
        self.l0.exit(Self::CPU, Self::L1);
        assert_eq!((self.xfd(), self.xfd_err()), (0, 0), "L0 runs with its own");
    }

    /// What is in the registers.
    fn xfd(&self) -> u64 {
        self.l0.cpus[Self::CPU].trace.xfd
    }

    fn xfd_err(&self) -> u64 {
        self.l0.cpus[Self::CPU].trace.xfd_err
    }

    /// L2, or L1, uses tiles while XFD disables them.
    fn use_tiles(&mut self) {
        let trace = &mut self.l0.cpus[Self::CPU].trace;
        assert_eq!(trace.xfd, TILE_DATA);
        trace.xfd_err |= TILE_DATA;
    }

    /// WRMSR by L1 of XFD_ERR, then XFD, as L1's own entry and exit do them.
    fn write(&mut self, xfd_err: u64, xfd: u64) {
        let trace = &mut self.l0.cpus[Self::CPU].trace;
        (trace.xfd_err, trace.xfd) = (xfd_err, xfd);
    }
}

#[test]
fn l2_to_l0_to_l2_keeps_l2s_xfd_err() {
    let mut nested = Nested::new();
    nested.enter();
    nested.write(0, TILE_DATA); // L1 enters L2, whose XFD is this.
    nested.use_tiles(); // #NM in L2, and before its handler reads XFD_ERR an interrupt exits to L0.
    nested.exit();
    nested.enter();
    assert_eq!((nested.xfd(), nested.xfd_err()), (TILE_DATA, TILE_DATA));
}

#[test]
fn l2_to_l0_to_l1_shows_l1_what_l2_left_and_l1_runs_with_its_own() {
    let mut nested = Nested::new();
    nested.enter();
    nested.write(0, TILE_DATA);
    nested.use_tiles();
    nested.exit(); // L0 reflects the exit to L1.
    nested.enter();
    assert_eq!((nested.xfd(), nested.xfd_err()), (TILE_DATA, TILE_DATA), "L1's way out reads L2's values");
    nested.write(0, 0); // L1 clears XFD_ERR before XFD, as every level does.
    nested.exit();
    nested.enter();
    assert_eq!((nested.xfd(), nested.xfd_err()), (0, 0), "L1's own are zero, whatever L2's are");
    nested.write(TILE_DATA, TILE_DATA); // L1 enters L2 again.
    nested.exit();
    nested.enter();
    assert_eq!((nested.xfd(), nested.xfd_err()), (TILE_DATA, TILE_DATA));
}
