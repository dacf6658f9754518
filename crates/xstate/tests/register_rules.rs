//! What the instructions that write XCR0, IA32_XSS and IA32_XFD take and refuse: the vectors of KVM, its unit tests and Xen.

use proptest::prelude::*;
use selfsame_xstate::{
    AccumulatedXcr0, Component, ComponentSet, Exception, Geometry, KvmXcrs, KvmXcrsRefusal, Readable, Xcr0, Xcr0Error,
    Xfd, XfdErr, XfdFault, XfdWrites, Xgetbv, Xsetbv, XsetbvFault, Xss, XssFault, kvm_set_xcrs, wrmsr_xfd,
    wrmsr_xfd_err, wrmsr_xss, xcr0_faults,
};

mod machines;

fn set(bits: u64) -> ComponentSet {
    ComponentSet::from_bits(bits)
}

/// The exception that a kernel's XSETBV raises, none where it is taken.
fn xsetbv(value: u64, permitted: u64) -> Option<Exception> {
    Xsetbv::in_kernel(value).judge(set(permitted)).err().map(|fault| fault.exception())
}

const GP: Option<Exception> = Some(Exception::GeneralProtection);
const UD: Option<Exception> = Some(Exception::InvalidOpcode);

#[test]
fn xcr0_is_1_after_reset_and_never_without_bit_0() {
    assert_eq!(Xcr0::RESET.bits(), 1);
    assert_eq!(Xcr0::default(), Xcr0::RESET);
    for value in (0..1 << 20).step_by(2) {
        assert!(Xcr0::new(value, set(u64::MAX)).is_err(), "{value:#x}");
    }
}

#[test]
fn a_zen_4_guest_takes_and_refuses_what_kvm_was_seen_to() {
    for value in [1, 3, 7, 0xE7] {
        assert_eq!(xsetbv(value, 0xE7), None, "{value:#x}");
    }
    let refused = [0, 2, 4, 5, 6, 0x23, 0x27, 0x47, 0x87, 0xA7, 0xE3, 0xE5, 0x1B, 0x1F, 0x207, 0x2_0007, 0x4_0007];
    for value in refused.into_iter().chain([0x6_0007, 1 << 62, 1 << 63]) {
        assert_eq!(xsetbv(value, 0xE7), GP, "{value:#x}");
    }
}

#[test]
fn before_cpuid_is_set_only_xcr0_1_is_taken() {
    for value in 0..1 << 20 {
        assert_eq!(xsetbv(value, 0), if value == 1 { None } else { GP }, "{value:#x}");
    }
}

#[test]
fn kvm_applies_the_first_entry_for_xcr0_and_ignores_all_others() {
    let set_xcrs = |entries: &[(u32, u64)], flags| kvm_set_xcrs(&KvmXcrs { entries, flags }, Some(set(0xE7)));
    let xcr0 = |entries: &[(u32, u64)]| set_xcrs(entries, 0).map(|xcr0| xcr0.map(Xcr0::bits));
    assert_eq!(xcr0(&[]), Ok(None));
    assert_eq!(xcr0(&[(1, 0), (7, u64::MAX)]), Ok(None));
    assert_eq!(xcr0(&[(0, 3), (0, 7)]), Ok(Some(3)));
    assert_eq!(xcr0(&[(0, 3), (0, 4)]), Ok(Some(3)));
    assert_eq!(xcr0(&[(1, 4), (0, 0xE7)]), Ok(Some(0xE7)));
    assert!(matches!(xcr0(&[(0, 4), (0, 3)]), Err(KvmXcrsRefusal::Value(_))));
    assert_eq!(xcr0(&[(0, 7); 16]), Ok(Some(7)));
    assert_eq!(xcr0(&[(0, 7); 17]), Err(KvmXcrsRefusal::TooMany { count: 17 }));
    for bit in 0..32 {
        let flags = 1 << bit;
        assert_eq!(set_xcrs(&[(0, 7)], flags), Err(KvmXcrsRefusal::Flags { flags }));
    }
    let entries = KvmXcrs { entries: &[], flags: 0 };
    assert_eq!(kvm_set_xcrs(&entries, None), Err(KvmXcrsRefusal::NoXsave));
}

/// KVM's xcr0_cpuid_test, for each set that a CPU of the Firecracker dumps supports.
#[test]
fn every_supported_set_is_taken_whole_and_no_bit_beyond_it() {
    for supported in [0x2FF, 0x2E7, 0x6_02E7, 0x207, 0xE7, 0x7, 0x3] {
        assert_eq!(xsetbv(1, supported), None);
        assert_eq!(xsetbv(supported, supported), None, "{supported:#x}");
        for bit in (0..64).filter(|bit| supported >> bit & 1 == 0) {
            assert_eq!(xsetbv(supported | 1 << bit, supported), GP, "{supported:#x} and bit {bit}");
        }
    }
}

/// The `xsave` test of kvm-unit-tests.
#[test]
fn xsetbv_faults_as_kvm_unit_tests_expect() {
    let fault = |xsetbv: Xsetbv| xsetbv.judge(set(0x7)).err().map(|fault| fault.exception());
    let kernel = Xsetbv::in_kernel;
    assert_eq!(fault(Xsetbv { has_osxsave: false, ..kernel(3) }), UD, "CR4.OSXSAVE is clear");
    for value in [1, 3, 7] {
        assert_eq!(fault(kernel(value)), None);
    }
    for value in [0, 2, 4, 5] {
        assert_eq!(fault(kernel(value)), GP, "{value}");
    }
    for index in (1..64).chain((1..32).map(|k| 1 << k)) {
        for value in [1, 3] {
            assert_eq!(fault(Xsetbv { index, ..kernel(value) }), GP, "xcr{index}");
        }
    }
}

#[test]
fn xgetbv_faults_as_kvm_unit_tests_expect() {
    let read = |index, has_xgetbv1| Xgetbv { has_osxsave: true, has_xgetbv1, index }.judge();
    assert_eq!(read(0, false), Ok(Readable::Xcr0));
    assert_eq!(read(1, true), Ok(Readable::InUse));
    assert_eq!(read(1, false), Err(XsetbvFault::NoRegister { index: 1 }));
    for index in (2..64).chain((1..32).map(|k| 1 << k)) {
        assert_eq!(read(index, true), Err(XsetbvFault::NoRegister { index }));
        assert_eq!(read(index, true).unwrap_err().exception(), Exception::GeneralProtection);
    }
    let off = Xgetbv { has_osxsave: false, has_xgetbv1: true, index: 0 };
    assert_eq!(off.judge().unwrap_err().exception(), Exception::InvalidOpcode);
}

#[test]
fn xsetbv_outside_of_ring_0_faults_and_ud_comes_first() {
    for cpl in 1..4 {
        let user = Xsetbv { cpl, ..Xsetbv::in_kernel(1) };
        assert_eq!(user.judge(set(7)), Err(XsetbvFault::Unprivileged { cpl }));
        let off = Xsetbv { has_osxsave: false, ..user };
        assert_eq!(off.judge(set(7)), Err(XsetbvFault::NoOsxsave));
    }
}

#[test]
fn a_refused_value_comes_back_with_all_that_is_wrong_with_it() {
    let Err(XsetbvFault::Value(refusal)) = Xsetbv::in_kernel(0x2C).judge(set(0xE7)) else { panic!("accepted") };
    assert_eq!(refusal.value(), 0x2C);
    assert!(refusal.faults().eq([
        Xcr0Error::NoX87 { value: 0x2C },
        Xcr0Error::AvxWithoutSse { value: 0x2C },
        Xcr0Error::Unsupported { value: 0x2C, unsupported: set(8) },
        Xcr0Error::PartialMpx { value: 0x2C, missing: set(0x10) },
        Xcr0Error::PartialAvx512 { value: 0x2C, missing: set(0xC0) },
    ]));
    assert_eq!(refusal.to_string().matches("; ").count(), 4, "{refusal}");
}

#[test]
fn xcr0_is_refused_exactly_where_a_rule_is_broken() {
    for permitted in [0, 1, 7, 0xE7, 0x207, 0x2FF, 0x6_02E7, 0xE_02FF] {
        for value in 0..1 << 20 {
            let is_legal = xcr0_faults(value, set(permitted)).next().is_none();
            assert_eq!(Xcr0::new(value, set(permitted)).map(Xcr0::bits).ok(), is_legal.then_some(value), "{value:#x}");
        }
    }
}

#[test]
fn accumulation_starts_at_x87_and_sse_and_only_grows() {
    assert_eq!(AccumulatedXcr0::START.components(), ComponentSet::LEGACY);
    let xcr0 = |value| Xcr0::new(value, set(0x6_02FF)).unwrap();
    let values = [0x1, 0x3, 0x7, 0xE7, 0x207, 0x2E7, 0x1F, 0x6_0003, 0x1];
    let mut accumulated = AccumulatedXcr0::START;
    for value in values {
        let wider = accumulated.with(xcr0(value));
        assert_eq!(wider.components(), accumulated.components() | set(value));
        assert!(wider.has(xcr0(value)));
        accumulated = wider;
    }
    assert_eq!(accumulated.components(), set(0x6_02FF));
}

#[test]
fn what_another_hypervisor_accumulated_obeys_the_rules_of_xcr0() {
    // Xen's validate_xstate: the accumulated set within the policy, legal, and no less than XCR0.
    let policy = set(0x2E7);
    let from = |value| AccumulatedXcr0::new(value, policy);
    assert_eq!(from(0xE7).map(AccumulatedXcr0::components), Ok(set(0xE7)));
    assert_eq!(from(0x1).map(AccumulatedXcr0::components), Ok(set(0x3)), "SSE is always there");
    for value in [0, 2, 6, 0x23, 0x6_02E7, 0x1F, 1 << 63 | 7] {
        assert!(from(value).is_err(), "{value:#x}");
    }
    assert!(!from(0x7).unwrap().has(Xcr0::new(0xE7, policy).unwrap()));
    assert!(from(0xE7).unwrap().has(Xcr0::new(0x7, policy).unwrap()));
}

#[test]
fn xss_is_0_after_reset_and_0_is_taken_wherever_there_is_one() {
    assert_eq!(Xss::RESET.bits(), 0);
    for permitted in [0, 0x800, 0x1800, u64::MAX] {
        assert_eq!(wrmsr_xss(0, Some(set(permitted))), Ok(Xss::RESET));
    }
    assert_eq!(wrmsr_xss(0, None), Err(XssFault::NoXsaves));
    // The host's own write needs no feature of the policy.
    assert_eq!(Xss::new(0, ComponentSet::EMPTY), Ok(Xss::RESET));
}

/// KVM's xss_msr_test and userspace_msr_exit: XSS 1 is #GP.
#[test]
fn every_single_bit_of_xss_is_taken_or_refused_by_what_is_permitted() {
    for permitted in [0, 0x800, 0x1800, 0x9C00, u64::MAX] {
        for bit in 0..64 {
            let value = 1 << bit;
            let is_supervisor = matches!(bit, 8 | 10..=16);
            let taken = wrmsr_xss(value, Some(set(permitted)));
            assert_eq!(taken.is_ok(), is_supervisor && permitted & value != 0, "bit {bit} of {permitted:#x}");
            if taken.is_err() {
                assert_eq!(taken, Err(XssFault::Unsupported { value, unsupported: set(value) }));
            }
        }
    }
}

#[test]
fn a_xen_guest_without_supervisor_states_can_only_clear_xss() {
    assert_eq!(wrmsr_xss(0, Some(ComponentSet::EMPTY)), Ok(Xss::RESET));
    for value in [1, 0x100, 0x1800, u64::MAX] {
        let unsupported = set(value);
        let refused = wrmsr_xss(value, Some(ComponentSet::EMPTY));
        assert_eq!(refused, Err(XssFault::Unsupported { value, unsupported }));
    }
}

fn intercepted(policy: u64) -> XfdWrites {
    XfdWrites::Intercepted { policy: set(policy) }
}

#[test]
fn guests_start_with_an_xfd_of_zero() {
    assert_eq!((Xfd::RESET.bits(), XfdErr::RESET.bits()), (0, 0));
}

#[test]
fn only_bits_that_xfd_covers_can_be_set() {
    let cpu = machines::sapphire_rapids();
    assert_eq!(cpu.xfd(), Component::XTILEDATA.into());
    for bit in 0..64 {
        let (value, is_covered) = (1 << bit, bit == 18);
        for writes in [intercepted(0x6_02E7), intercepted(u64::MAX), XfdWrites::PassedThrough] {
            assert_eq!(wrmsr_xfd(value, writes, &cpu).map(Xfd::bits).ok(), is_covered.then_some(value), "bit {bit}");
            let error_register = wrmsr_xfd_err(value, writes, &cpu).map(XfdErr::bits);
            assert_eq!(error_register.ok(), is_covered.then_some(value), "bit {bit}");
        }
    }
}

#[test]
fn on_a_cpu_without_amx_the_hypervisor_can_write_xfd_0_and_nothing_else() {
    // Seen by ioctl on a Zen 4 KVM host: 0 is accepted and 1 << 18 is not.
    let cpu = machines::genoa();
    assert_eq!(wrmsr_xfd(0, intercepted(0xE7), &cpu), Ok(Xfd::RESET));
    assert_eq!(
        wrmsr_xfd(1 << 18, intercepted(0xE7), &cpu),
        Err(XfdFault::Unsupported { msr: 0x1C4, value: 1 << 18, unsupported: set(1 << 18) })
    );
}

#[test]
fn a_guest_whose_policy_lacks_xfd_has_neither_register() {
    let cpu = machines::sapphire_rapids();
    assert_eq!(wrmsr_xfd(0, XfdWrites::Absent, &cpu), Err(XfdFault::NoXfd { msr: Xfd::MSR }));
    assert_eq!(wrmsr_xfd_err(0, XfdWrites::Absent, &cpu), Err(XfdFault::NoXfd { msr: XfdErr::MSR }));
}

#[test]
fn who_does_not_intercept_lets_a_guest_set_what_its_policy_lacks() {
    let cpu = machines::sapphire_rapids();
    assert!(wrmsr_xfd(1 << 18, intercepted(0x2E7), &cpu).is_err());
    assert_eq!(wrmsr_xfd(1 << 18, XfdWrites::PassedThrough, &cpu).map(Xfd::bits), Ok(1 << 18));
}

proptest! {
    #[test]
    fn registers_hold_what_was_written_and_only_what_was_permitted(value in any::<u64>(), permitted in any::<u64>()) {
        for value in [value, value & permitted, value & permitted | 3] {
            if let Ok(xcr0) = Xcr0::new(value, set(permitted)) {
                prop_assert_eq!(xcr0.bits(), value);
                prop_assert!(xcr0.components().contains(Component::X87));
                prop_assert!(xcr0.components().is_subset_of(set(permitted).with(Component::X87)));
            }
            if let Ok(xss) = Xss::new(value, set(permitted)) {
                prop_assert_eq!(xss.bits(), value);
                prop_assert!(xss.components().is_subset_of(set(permitted)));
            }
        }
    }

    #[test]
    fn more_permission_never_refuses_more(value in 0u64..1 << 20, permitted in any::<u64>(), more in any::<u64>()) {
        if Xcr0::new(value, set(permitted)).is_ok() {
            prop_assert!(Xcr0::new(value, set(permitted | more)).is_ok());
        }
        if Xss::new(value, set(permitted)).is_ok() {
            prop_assert!(Xss::new(value, set(permitted | more)).is_ok());
        }
    }

    #[test]
    fn no_leaf_makes_xfd_cover_what_is_no_user_component(words in prop::collection::vec(any::<[u32; 4]>(), 63)) {
        let cpu = Geometry::read(|subleaf| words[subleaf as usize]);
        prop_assert!(cpu.xfd().is_subset_of(cpu.user()));
    }
}
