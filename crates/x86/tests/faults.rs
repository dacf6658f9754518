//! On which headers this CPU faults, beside what is computed and what the strict reading refuses.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![expect(clippy::panic, reason = "a test's helpers fail by panicking")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Write;
use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use selfsame_x86::{Oracle, TryError};
use selfsame_xstate::{ComponentSet, Format, Header, HeaderFault, ImageFault, Restore, hardware_fault};

/// This CPU, or a loud skip.
fn oracle() -> Option<Oracle> {
    let oracle = Oracle::of_this_cpu();
    if oracle.is_none() {
        // Not `eprintln`: the harness keeps what a passing test prints, and a skip must not look like a pass.
        let _ = std::io::stderr().write_all(b"SKIPPED: this machine has no XSAVE in user mode\n");
    }
    oracle
}

/// The exception that XRSTOR raises, if it does.
fn vector(oracle: &Oracle, bytes: &[u8], requested: ComponentSet) -> Option<u8> {
    match oracle.try_through(bytes, requested, Format::Standard, oracle.xcr0()) {
        Ok(_) => None,
        Err(TryError::Fault { vector }) => Some(vector),
        Err(error) => panic!("{error}"),
    }
}

/// What is computed for this CPU.
fn restore(oracle: &Oracle, requested: ComponentSet) -> Restore {
    let (mxcsr_mask, has_xsavec) = (oracle.mxcsr_mask(), oracle.geometry().has_xsavec());
    Restore { requested, mxcsr_mask, has_xsavec, ..Restore::xrstor(oracle.xcr0()) }
}

/// Headers within a bit or two of what XCR0 takes.
fn headers(xcr0: u64) -> impl Strategy<Value = Header> {
    let bit = || (0u32..64).prop_map(|bit| 1u64 << bit);
    let near = move || {
        prop_oneof![
            4 => any::<u64>().prop_map(move |mask| mask & xcr0),
            2 => (any::<u64>(), bit()).prop_map(move |(mask, bit)| mask & xcr0 ^ bit),
            1 => any::<u64>(),
        ]
    };
    let word = prop_oneof![12 => Just(0u64), 1 => bit()];
    let xcomp_bv = prop_oneof![
        4 => Just(0u64),
        1 => near(),
        6 => Just(xcr0 | 1 << 63),
        3 => near().prop_map(|mask| mask | 1 << 63),
    ];
    (near(), xcomp_bv, prop::array::uniform6(word)).prop_map(|(xstate_bv, xcomp_bv, reserved)| Header {
        xstate_bv,
        xcomp_bv,
        reserved,
    })
}

fn mxcsrs() -> impl Strategy<Value = u32> {
    prop_oneof![3 => Just(0x1F80), 2 => any::<u16>().prop_map(u32::from), 1 => (0u32..32).prop_map(|bit| 1 << bit)]
}

#[test]
fn twenty_thousand_headers_fault_exactly_where_computed_and_strict_refuses_those_and_names_the_rest() {
    let Some(oracle) = oracle() else { return };
    let loadable = oracle.loadable();
    let seen = RefCell::new(BTreeMap::<String, u32>::new());
    let cases = (headers(loadable.bits()), mxcsrs(), any::<u64>());
    let config = ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&cases, |(header, mxcsr, mask)| {
        let requested = ComponentSet::from_bits(mask) & loadable;
        let mut bytes = [0; 4096];
        bytes[24..28].copy_from_slice(&mxcsr.to_le_bytes());
        bytes[512..576].copy_from_slice(&header.to_bytes());
        let real = vector(&oracle, &bytes, requested);
        let computed = hardware_fault(&header, mxcsr, &restore(&oracle, requested));
        prop_assert_eq!(real, computed.map(|fault| fault.vector()), "{:?}", computed);

        let first = oracle.reader().faults(&bytes).next();
        let outcome = match (computed, first) {
            (Some(fault), first) => {
                let needs_compaction = header.format() == Format::Compacted && !oracle.geometry().has_xsavec();
                prop_assert!(first.is_some() || needs_compaction, "hardware alone refuses: {fault}");
                format!("both refuse: {fault:?}").chars().take_while(|c| *c != '{').collect()
            }
            (None, None) => format!("both take, {:?}", header.format()),
            (None, Some(fault)) => {
                let is_named = match fault {
                    ImageFault::Header(HeaderFault::ReservedTail) => header.format() == Format::Standard,
                    ImageFault::Mxcsr { .. } => true,
                    _ => false,
                };
                prop_assert!(is_named, "strict alone refuses: {fault}");
                let name: String = format!("{fault:?}").chars().take_while(|c| *c != '{').collect();
                format!("strict alone refuses {name}, {:?}", header.format())
            }
        };
        *seen.borrow_mut().entry(outcome).or_default() += 1;
        Ok(())
    });
    for (outcome, count) in seen.borrow().iter() {
        eprintln!("{count:6} {outcome}");
    }
    result.unwrap();
    // Near-legal headers are the point: each outcome has to come often.
    let count = |part: &str| seen.borrow().iter().filter(|(name, _)| name.contains(part)).map(|(_, n)| n).sum::<u32>();
    assert!(count("both refuse") > 1_000 && count("both take") > 1_000 && count("strict alone") > 100);
}

#[test]
fn every_single_bit_of_the_header_is_judged_as_by_the_cpu() {
    let Some(oracle) = oracle() else { return };
    for places in [0, oracle.loadable().bits() | 1 << 63] {
        for bit in 0..512 {
            let mut bytes = [0; 4096];
            bytes[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
            bytes[520..528].copy_from_slice(&places.to_le_bytes());
            bytes[512 + bit / 8] ^= 1 << (bit % 8);
            let header = Header::from_bytes(bytes[512..].first_chunk().unwrap());
            let computed = hardware_fault(&header, 0x1F80, &restore(&oracle, oracle.loadable()));
            let real = vector(&oracle, &bytes, oracle.loadable());
            assert_eq!(real, computed.map(|fault| fault.vector()), "{places:#x}, bit {bit}: {computed:?}");
        }
    }
}

#[test]
fn threads_ask_at_the_same_time() {
    let Some(oracle) = oracle() else { return };
    std::thread::scope(|scope| {
        for expected in [None, Some(13), None, Some(13)] {
            let oracle = &oracle;
            scope.spawn(move || {
                let mut bytes = [0; 576];
                bytes[519] = if expected.is_some() { 0x80 } else { 0 };
                for _ in 0..2_000 {
                    assert_eq!(vector(oracle, &bytes, oracle.loadable()), expected);
                }
            });
        }
    });
}

#[test]
fn a_fault_of_somebody_else_is_handed_on() {
    // A child of this program, because the point is that it dies: of its stack, which the standard library tells.
    const CHILD: &str = "SELFSAME_X86_TEST_CHILD";
    let Some(oracle) = oracle() else { return };
    if std::env::var_os(CHILD).is_some() {
        assert_eq!(vector(&oracle, &[0; 576], oracle.loadable()), None);
        black_box(recurse(black_box(0)));
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["a_fault_of_somebody_else_is_handed_on", "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(!child.status.success() && said.contains("overflowed its stack"), "{said}");
}

/// Runs over the stack.
#[expect(unconditional_recursion, reason = "until the stack ends")]
fn recurse(depth: u64) -> u64 {
    let page = black_box([depth; 512]);
    recurse(depth + 1) + page[17]
}
