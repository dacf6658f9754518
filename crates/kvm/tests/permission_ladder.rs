//! The kernel that runs the tests, as the judge of `selfsame_xstate`'s ladder of permissions.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![expect(unsafe_code, reason = "UNSAFETY: arch_prctl and CPUID have no safe wrapper")]

use std::arch::x86_64::__cpuid_count;
use std::io::{Error, Write, stderr};

use selfsame_xstate::{
    Component, Configurations, GET_SUPPORTED_CODE, Geometry, Holder, Offsets, Permissions, SignalStacks,
};

/// The machine's leaf 0xD, of which Linux uses no more than it finds whole; both vendors' places are the CPU's own here.
fn this_machine() -> Geometry {
    #[allow(unused_unsafe, reason = "newer toolchains have made CPUID safe")]
    let geometry = Geometry::read(|subleaf| {
        // SAFETY: every x86-64 CPU has CPUID.
        let leaf = unsafe { __cpuid_count(0xD, subleaf) };
        [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx]
    });
    geometry.usable(Offsets::Intel)
}

/// What the kernel answers to a request: 0 or an errno.
fn request(holder: Holder, index: u32) -> i32 {
    let (code, index) = (libc::c_long::from(holder.request_code()), libc::c_long::from(index));
    // SAFETY: this operation takes two integers and touches no memory of the process.
    let result = unsafe { libc::syscall(libc::SYS_arch_prctl, code, index) };
    if result == 0 { 0 } else { Error::last_os_error().raw_os_error().unwrap_or(-1) }
}

/// What the kernel says it supports or permits; `None` before 5.16, and before 5.17 for guests.
fn read(code: u32) -> Option<u64> {
    let mut word = 0_u64;
    // SAFETY: these operations write 64 bits to the address they are given.
    let result = unsafe { libc::syscall(libc::SYS_arch_prctl, libc::c_long::from(code), &raw mut word) };
    (result == 0).then_some(word)
}

#[test]
fn this_kernel_answers_every_request_as_the_ladder_says() {
    if read(Holder::Guests.get_code()).is_none() {
        // Not `eprintln`: the harness keeps what a passing test prints.
        let _ = writeln!(stderr(), "SKIPPED: this kernel has no permissions for guests");
        return;
    }
    let geometry = this_machine();
    let mut ladder = Permissions::new(Configurations::new(&geometry).unwrap());
    let mut compared = 0;
    for index in (0..70).chain([255, 256, 256 + 18]) {
        let expected = ladder.request_for_guests(index).err().map_or(0, |error| error.errno().number());
        assert_eq!(request(Holder::Guests, index), expected, "guests, {index}");
        // A grant to the test's own tasks depends on the signal stacks of its threads.
        let is_granted = geometry.user().contains(Component::XTILEDATA) && index == 18;
        if !is_granted {
            let expected = ladder.request_for_tasks(index, SignalStacks::default());
            assert_eq!(request(Holder::Tasks, index), expected.unwrap_err().errno().number(), "tasks, {index}");
        }
        compared += 1;
    }
    assert_eq!(compared, 73);
    let words = [GET_SUPPORTED_CODE, Holder::Tasks.get_code(), Holder::Guests.get_code()].map(read);
    eprintln!("supported, tasks, guests: {words:x?}");
    let [Some(supported), Some(tasks), Some(guests)] = words else { panic!("{words:x?}") };
    // The kernel leaves out components whose feature it does not use: PKRU without OSPKE, for one.
    assert_eq!(supported & !ladder.supported().bits(), 0);
    assert_eq!(tasks, ladder.permitted(Holder::Tasks).bits() & supported);
    assert_eq!(guests, ladder.permitted(Holder::Guests).bits() & supported);
}
