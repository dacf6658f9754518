//! The ladder of permissions, and the one list of steps that climbs it.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use proptest::prelude::*;
use selfsame_xstate::{
    Area, Component, ComponentSet, Configurations, EnableError, Errno, GET_SUPPORTED_CODE, Geometry, Holder,
    Permissions, RequestError, SignalStackTooSmall, SignalStacks, Step, Xcr0, Xfd, XfdErr, XfdWrites, Xss,
    XstateRegisters, steps, wrmsr_xfd, wrmsr_xfd_err,
};

mod machines;

const NO_STACKS: SignalStacks = SignalStacks { smallest_bytes: None, frame_bytes: 0 };
const TILE_DATA: u32 = 18;

fn set(bits: u64) -> ComponentSet {
    ComponentSet::from_bits(bits)
}

fn permissions(geometry: &Geometry) -> Permissions<'_> {
    Permissions::new(Configurations::new(geometry).unwrap())
}

/// What a request for either holder answers, as the kernel says it: 0 or an errno.
fn answers(permissions: &mut Permissions<'_>, index: u32) -> [i32; 2] {
    [permissions.request_for_tasks(index, NO_STACKS), permissions.request_for_guests(index)]
        .map(|answer| answer.err().map_or(0, |error| error.errno().number()))
}

#[test]
fn the_calls_have_linuxs_numbers() {
    assert_eq!(GET_SUPPORTED_CODE, 0x1021);
    assert_eq!((Holder::Tasks.get_code(), Holder::Tasks.request_code()), (0x1022, 0x1023));
    assert_eq!((Holder::Guests.get_code(), Holder::Guests.request_code()), (0x1024, 0x1025));
    let numbers = [Errno::EPERM, Errno::EBUSY, Errno::EINVAL, Errno::ENOSPC, Errno::EOPNOTSUPP].map(Errno::number);
    assert_eq!(numbers, [1, 16, 22, 28, 95]);
    assert_eq!(Errno::ENOMEM.number(), 12);
}

#[test]
fn a_host_without_amx_answers_as_zen_4_was_seen_to() {
    let geometry = machines::genoa();
    for index in 0..40 {
        let expected = if index < 20 { Errno::EOPNOTSUPP } else { Errno::EINVAL };
        assert_eq!(answers(&mut permissions(&geometry), index), [expected.number(); 2], "{index}");
    }
    for index in [62, 63, 255, 256, 256 + 18, u32::MAX] {
        assert_eq!(answers(&mut permissions(&geometry), index), [Errno::EINVAL.number(); 2], "{index}");
    }
}

#[test]
fn an_amx_host_grants_tile_data_and_nothing_else() {
    let geometry = machines::sapphire_rapids();
    for index in 0..40 {
        let expected = match index {
            TILE_DATA => 0,
            0..20 => Errno::EOPNOTSUPP.number(),
            _ => Errno::EINVAL.number(),
        };
        assert_eq!(answers(&mut permissions(&geometry), index), [expected; 2], "{index}");
    }
}

#[test]
fn the_errors_come_in_linuxs_order() {
    let (amx, none) = (machines::sapphire_rapids(), machines::genoa());
    let tight = SignalStacks { smallest_bytes: Some(2048), frame_bytes: 1024 };
    // Everything is wrong at once, from the last check to the first.
    let mut host = permissions(&amx);
    host.lock();
    assert!(matches!(host.request_for_tasks(18, tight), Err(RequestError::SignalStack { .. })));
    assert!(matches!(host.request_for_guests(18), Err(RequestError::Locked { .. })));
    assert_eq!(
        permissions(&none).request_for_tasks(18, tight),
        Err(RequestError::NotOnHost { component: Component::XTILEDATA })
    );
    assert_eq!(host.request_for_tasks(17, tight), Err(RequestError::NeedsNone { component: Component::XTILECFG }));
    assert_eq!(host.request_for_tasks(20, tight), Err(RequestError::NoComponent { index: 20 }));
    // What is permitted is permitted again, before lock and stacks are looked at.
    let mut host = permissions(&amx);
    host.request_for_guests(18).unwrap();
    host.request_for_tasks(18, NO_STACKS).unwrap();
    host.lock();
    assert_eq!((host.request_for_guests(18), host.request_for_tasks(18, tight)), (Ok(()), Ok(())));
}

#[test]
fn the_first_vcpu_locks_the_guests_permission_and_not_the_tasks() {
    let geometry = machines::sapphire_rapids();
    let mut host = permissions(&geometry);
    host.lock();
    let refused = host.request_for_guests(18).unwrap_err();
    assert_eq!((refused, refused.errno()), (RequestError::Locked { component: Component::XTILEDATA }, Errno::EBUSY));
    assert_eq!(host.request_for_tasks(18, NO_STACKS), Ok(()));
}

#[test]
fn fork_copies_the_lock_and_exec_opens_it() {
    let geometry = machines::sapphire_rapids();
    let mut parent = permissions(&geometry);
    parent.lock();
    let mut child = parent.clone();
    assert_eq!(child.request_for_guests(18).unwrap_err().errno(), Errno::EBUSY);
    assert_eq!(permissions(&geometry).request_for_guests(18), Ok(()));
    let mut permitted = permissions(&geometry);
    permitted.request_for_guests(18).unwrap();
    assert_eq!(permitted.clone(), permitted);
}

#[test]
fn a_signal_stack_must_take_the_frame_with_the_larger_area() {
    let geometry = machines::sapphire_rapids();
    let request = |smallest_bytes| {
        let stacks = SignalStacks { smallest_bytes: Some(smallest_bytes), frame_bytes: 1000 };
        permissions(&geometry).request_for_tasks(18, stacks)
    };
    assert_eq!(request(12008), Ok(()));
    let refused = request(12007).unwrap_err();
    assert_eq!(refused.errno(), Errno::ENOSPC);
    let stack = SignalStackTooSmall { smallest_bytes: 12007, needed_bytes: 12008 };
    assert_eq!(refused, RequestError::SignalStack { component: Component::XTILEDATA, stack });
}

#[test]
fn a_small_signal_stack_after_the_permission_is_enomem() {
    let geometry = machines::sapphire_rapids();
    let mut host = permissions(&geometry);
    let stacks = |smallest_bytes| SignalStacks { smallest_bytes: Some(smallest_bytes), frame_bytes: 1000 };
    assert_eq!(host.check_signal_stacks(stacks(2048)), Ok(()), "before");
    host.request_for_tasks(18, stacks(12008)).unwrap();
    assert_eq!(host.check_signal_stacks(stacks(12008)), Ok(()));
    assert_eq!(host.check_signal_stacks(stacks(12007)).unwrap_err().errno(), Errno::ENOMEM);
}

#[test]
fn a_task_grows_at_its_first_use_if_it_is_permitted() {
    let geometry = machines::sapphire_rapids();
    let mut host = permissions(&geometry);
    let used = wrmsr_xfd_err(1 << 18, XfdWrites::PassedThrough, &geometry).unwrap();
    let refused = host.first_use(used, ComponentSet::EMPTY).unwrap_err();
    let components = Component::XTILEDATA.into();
    assert_eq!(refused, EnableError::NotPermitted { holder: Holder::Tasks, components });
    // The guests' permission is not the tasks'.
    host.request_for_guests(18).unwrap();
    assert_eq!(host.first_use(used, ComponentSet::EMPTY), Err(refused));
    host.request_for_tasks(18, NO_STACKS).unwrap();
    let task = host.first_use(used, ComponentSet::EMPTY).unwrap();
    assert_eq!((task.area.size_bytes(), task.xfd), (10752, Xfd::RESET));
}

/// The amx selftest: TILECFG is permitted from the start, and a request adds exactly bit 18.
#[test]
fn a_request_adds_exactly_its_component_to_what_is_shown() {
    let geometry = machines::sapphire_rapids();
    let mut host = permissions(&geometry);
    assert_eq!(host.supported(), set(0x6_02E7));
    for holder in [Holder::Tasks, Holder::Guests] {
        assert_eq!(host.permitted(holder), set(0x2_02E7), "supervisor components are not shown");
    }
    host.request_for_guests(18).unwrap();
    assert_eq!((host.permitted(Holder::Tasks), host.permitted(Holder::Guests)), (set(0x2_02E7), set(0x6_02E7)));
    host.request_for_tasks(18, NO_STACKS).unwrap();
    assert_eq!(host.permitted(Holder::Tasks), set(0x6_02E7));
}

#[test]
fn permissions_have_the_sizes_of_what_is_permitted() {
    let geometry = machines::sapphire_rapids();
    let mut host = permissions(&geometry);
    let sizes = |host: &Permissions<'_>, holder| (host.kernel_bytes(holder), host.user_bytes(holder));
    assert_eq!(sizes(&host, Holder::Tasks), (2560, 2816));
    assert_eq!(sizes(&host, Holder::Guests), (2560, 2816));
    host.request_for_guests(18).unwrap();
    assert_eq!(sizes(&host, Holder::Guests), (10752, 11008));
    assert_eq!(sizes(&host, Holder::Tasks), (2560, 2816));
}

#[test]
fn a_guest_is_never_offered_half_of_amx() {
    let geometry = machines::sapphire_rapids();
    let mut host = permissions(&geometry);
    // KVM_CAP_XSAVE2: what is offered, in the standard format, and never less than the old structure.
    let capability = |host: &Permissions<'_>| geometry.standard_size(host.offered_to_guests()).unwrap().max(4096);
    assert_eq!((host.offered_to_guests(), capability(&host)), (set(0x2E7), 4096));
    host.request_for_guests(18).unwrap();
    assert_eq!((host.offered_to_guests(), capability(&host)), (set(0x6_02E7), 11008));
    assert!(Xcr0::new(host.offered_to_guests().bits(), host.offered_to_guests()).is_ok());
}

#[test]
fn enabling_without_permission_is_eperm_and_needs_amx_by_the_policy_alone() {
    let geometry = machines::sapphire_rapids();
    let host = permissions(&geometry);
    let refused = host.enable(set(0x6_02E7), ComponentSet::EMPTY).unwrap_err();
    assert_eq!(refused, EnableError::NotPermitted { holder: Holder::Guests, components: Component::XTILEDATA.into() });
    assert_eq!(refused.errno(), Errno::EPERM);
    assert!(host.enable(set(0x2E7), ComponentSet::EMPTY).is_ok());
    // A host without AMX: not permitted, like KVM, before it is found that there is none.
    let geometry = machines::genoa();
    let refused = permissions(&geometry).enable(set(0x6_02E7), ComponentSet::EMPTY).unwrap_err();
    assert_eq!(refused.errno(), Errno::EPERM);
    let refused = permissions(&machines::milan()).enable(set(0xE7), ComponentSet::EMPTY).unwrap_err();
    assert!(matches!(refused, EnableError::Area(_)));
}

#[test]
fn enabling_grows_task_guest_and_interface_and_clears_the_tasks_xfd() {
    let geometry = machines::sapphire_rapids();
    let mut host = permissions(&geometry);
    host.request_for_guests(18).unwrap();
    let before = host.enable(set(0x2E7), ComponentSet::EMPTY).unwrap();
    assert_eq!(before.components, ComponentSet::EMPTY);
    assert_eq!((before.guest.size_bytes(), before.task.area.size_bytes(), before.user_bytes), (2488, 2560, 4096));
    assert_eq!(before.task.xfd.bits(), 1 << 18);

    let after = host.enable(set(0x6_02E7), before.components).unwrap();
    assert_eq!(after.components, Component::XTILEDATA.into());
    assert_eq!((after.guest.size_bytes(), after.task.area.size_bytes(), after.user_bytes), (10752, 10752, 11008));
    assert_eq!(after.task.xfd, Xfd::RESET);
    assert_eq!(host.enable(set(0x6_02E7), after.components), Ok(after), "enabled again");

    // What was enabled stays enabled, but the guest's area follows its policy.
    let shrunk = host.enable(set(0x2E7), after.components).unwrap();
    assert_eq!(shrunk.components, Component::XTILEDATA.into());
    assert_eq!(shrunk.guest.size_bytes(), 2488);
}

/// A process and its vCPUs that do what the steps say, and refuse what the kernel would.
struct Process<'g> {
    permissions: Permissions<'g>,
    host: Configurations<'g>,
}

/// What a vCPU has after its steps.
#[derive(Debug, PartialEq)]
struct Vcpu<'g> {
    area: Area<'g>,
    has_policy: bool,
    has_image: bool,
    registers: XstateRegisters,
}

impl<'g> Process<'g> {
    fn new(geometry: &'g Geometry) -> Self {
        let host = Configurations::new(geometry).unwrap();
        Self { permissions: Permissions::new(host), host }
    }

    fn run(&mut self, states: ComponentSet, list: &[Step]) -> Result<Vcpu<'g>, String> {
        let mut vcpu = None;
        for &step in list {
            if let Step::RequestPermission(component) = step {
                let index = component.index().into();
                self.permissions.request_for_guests(index).map_err(|error| error.to_string())?;
                continue;
            }
            if step == Step::CreateVcpu {
                self.permissions.lock();
                let area = self.host.minimal_area().unwrap();
                vcpu = Some(Vcpu { area, has_policy: false, has_image: false, registers: XstateRegisters::RESET });
                continue;
            }
            let vcpu = vcpu.as_mut().ok_or("no vcpu")?;
            match step {
                Step::SetPolicy => {
                    let enabled = self.permissions.enable(states, ComponentSet::EMPTY);
                    vcpu.area = enabled.map_err(|error| error.to_string())?.guest;
                    vcpu.has_policy = true;
                }
                Step::SetXcr0(xcr0) => {
                    vcpu.registers.xcr0 =
                        Xcr0::new(xcr0.bits(), vcpu.area.permitted_xcr0()).map_err(|refusal| refusal.to_string())?;
                }
                Step::SetXss(xss) => {
                    vcpu.registers.xss =
                        Xss::new(xss.bits(), self.host.permitted_xss(states)).map_err(|error| error.to_string())?;
                }
                Step::LoadImage if vcpu.registers.xfd != Xfd::RESET => return Err("the image meets an xfd".into()),
                Step::LoadImage if !vcpu.has_policy => return Err("the image has no room yet".into()),
                Step::LoadImage => vcpu.has_image = true,
                Step::SetXfdErr(xfd_err) => vcpu.registers.xfd_err = xfd_err,
                Step::SetXfd(xfd) => vcpu.registers.xfd = xfd,
                _ => return Err(format!("{step:?} is not known")),
            }
        }
        vcpu.ok_or_else(|| "no vcpu".into())
    }
}

/// Every policy that fits the host, in groups that XSETBV takes.
fn policies(geometry: &Geometry) -> Vec<ComponentSet> {
    let host = Configurations::new(geometry).unwrap();
    let all = host.guest_kernel().max();
    let mut policies = Vec::new();
    let mut bits = all.bits();
    loop {
        if Xcr0::new(bits & host.guest_user().max().bits() | 3, all).is_ok() {
            policies.push(set(bits));
        }
        if bits == 0 {
            return policies;
        }
        bits = (bits - 1) & all.bits();
    }
}

#[test]
fn the_steps_bring_every_vcpu_of_every_policy_to_its_first_run() {
    for geometry in [machines::sapphire_rapids(), machines::genoa(), machines::without_xsaves(), machines::nehalem()] {
        for states in policies(&geometry) {
            let mut process = Process::new(&geometry);
            let start: Vec<Step> = steps(states, XstateRegisters::RESET).collect();
            // Two vCPUs: the second one's requests meet the lock.
            for _ in 0..2 {
                let vcpu = process.run(states, &start).unwrap();
                assert_eq!(vcpu.registers, XstateRegisters::RESET);
                assert!(vcpu.has_image);
                let wanted = states & Configurations::new(&geometry).unwrap().guest_kernel().max();
                assert!(wanted.is_subset_of(vcpu.area.components()), "{states}");
            }
        }
    }
}

#[test]
fn start_resume_and_restore_issue_the_same_steps_and_differ_in_their_values() {
    let geometry = machines::sapphire_rapids();
    let states = set(0x6_1AE7);
    let xfd_writes = XfdWrites::Intercepted { policy: states };
    let registers = XstateRegisters {
        xcr0: Xcr0::new(0x6_02E7, states).unwrap(),
        xss: Xss::new(0x800, states).unwrap(),
        xfd: wrmsr_xfd(1 << 18, xfd_writes, &geometry).unwrap(),
        xfd_err: XfdErr::RESET,
    };
    let (start, restore) = (steps(states, XstateRegisters::RESET), steps(states, registers));
    let kinds = |step| std::mem::discriminant(&step);
    assert!(start.clone().map(kinds).eq(restore.clone().map(kinds)));
    let vcpu = Process::new(&geometry).run(states, &restore.collect::<Vec<_>>()).unwrap();
    assert_eq!(vcpu.registers, registers);
    let vcpu = Process::new(&geometry).run(states, &start.collect::<Vec<_>>()).unwrap();
    assert_eq!(vcpu.registers.xfd, Xfd::RESET, "guests start with an XFD of zero");
}

#[test]
fn any_other_order_of_the_steps_that_runs_ends_in_the_same_vcpu() {
    let geometry = machines::sapphire_rapids();
    let states = set(0x6_0207);
    let registers = XstateRegisters {
        xcr0: Xcr0::new(0x6_0207, states).unwrap(),
        xfd: wrmsr_xfd(1 << 18, XfdWrites::PassedThrough, &geometry).unwrap(),
        ..XstateRegisters::RESET
    };
    let list: Vec<Step> = steps(states, registers).collect();
    let expected = Process::new(&geometry).run(states, &list).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    permute(&mut list.clone(), 0, &mut |order| match Process::new(&geometry).run(states, order) {
        Ok(vcpu) => {
            assert_eq!(vcpu, expected);
            accepted += 1;
        }
        Err(_) => refused += 1,
    });
    assert_eq!(accepted + refused, 5040);
    assert!(accepted > 1 && refused > accepted, "{accepted} {refused}");
}

fn permute(list: &mut [Step], from: usize, visit: &mut impl FnMut(&[Step])) {
    if from == list.len() {
        return visit(list);
    }
    for at in from..list.len() {
        list.swap(from, at);
        permute(list, from + 1, visit);
        list.swap(from, at);
    }
}

#[test]
fn permission_after_the_first_vcpu_and_policy_before_permission_are_what_the_order_prevents() {
    let geometry = machines::sapphire_rapids();
    let states = set(0x6_02E7);
    let request = Step::RequestPermission(Component::XTILEDATA);
    let late = Process::new(&geometry).run(states, &[Step::CreateVcpu, request]).unwrap_err();
    assert!(late.contains("after the first vcpu"), "{late}");
    let none = Process::new(&geometry).run(states, &[Step::CreateVcpu, Step::SetPolicy]).unwrap_err();
    assert!(none.contains("not permitted xtiledata"), "{none}");
    // An image before the policy that enables AMX is lost in KVM.
    let early = Process::new(&geometry).run(states, &[request, Step::CreateVcpu, Step::LoadImage]).unwrap_err();
    assert_eq!(early, "the image has no room yet");
}

#[test]
fn guests_without_the_registers_get_no_steps_for_them() {
    let of = |bits| steps(set(bits), XstateRegisters::RESET).collect::<Vec<_>>();
    assert_eq!(of(0), [Step::CreateVcpu, Step::SetPolicy, Step::LoadImage]);
    assert_eq!(of(0x1807).len(), 5);
    assert_eq!(of(0x1807)[3], Step::SetXss(Xss::RESET));
    assert!(!of(0x1AE7).iter().any(|step| matches!(step, Step::SetXfd(_) | Step::RequestPermission(_))));
    // A value for a register that the policy lacks is not dropped: its step has to be refused.
    let stray = XstateRegisters { xss: Xss::new(0x800, set(0x800)).unwrap(), ..XstateRegisters::RESET };
    let list: Vec<Step> = steps(set(7), stray).collect();
    assert!(list.contains(&Step::SetXss(stray.xss)));
    assert!(Process::new(&machines::milan()).run(set(7), &list).is_err());
}

proptest! {
    #[test]
    fn permissions_only_grow_and_never_beyond_the_host(requests in prop::collection::vec((0u32..24, any::<bool>()), 0..20), lock in 0usize..20) {
        for geometry in [machines::sapphire_rapids(), machines::genoa()] {
            let mut host = permissions(&geometry);
            for (at, (index, is_guest)) in requests.iter().enumerate() {
                if at == lock {
                    host.lock();
                }
                let before = host.clone();
                let answer = if *is_guest {
                    host.request_for_guests(*index)
                } else {
                    host.request_for_tasks(*index, NO_STACKS)
                };
                for holder in [Holder::Tasks, Holder::Guests] {
                    prop_assert!(before.permitted(holder).is_subset_of(host.permitted(holder)));
                    prop_assert!(host.permitted(holder).is_subset_of(host.supported()));
                }
                if answer.is_err() {
                    prop_assert_eq!(&host, &before);
                }
            }
        }
    }
}
