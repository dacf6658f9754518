//! The table of `docs/xstate.md` under *Images* says what the three readings do.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

use std::collections::BTreeMap;
use std::fs;

use selfsame_xstate::{
    ComponentSet, Header, ImageFault, KvmRefusal, KvmVcpu, MXCSR_INITIAL, MxcsrMask, Reader, Restore, hardware_fault,
    kvm_set_xsave,
};

mod machines;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/xstate.md");

const COMPACTED: u64 = 1 << 63;

/// An image with the property of a row, and how it is loaded.
#[derive(Clone, Copy)]
struct Example {
    header: Header,
    mxcsr: u32,
    requested: u64,
    xfd: u64,
    /// What the guest has of the host's 0x602E7.
    guest: u64,
    /// A byte beyond the header, at a place.
    byte: (usize, u8),
    len: usize,
}

const PLAIN: Example = Example {
    header: Header { xstate_bv: 0x207, xcomp_bv: 0, reserved: [0; 6] },
    mxcsr: MXCSR_INITIAL,
    requested: u64::MAX,
    xfd: 0,
    guest: 0x6_0207,
    byte: (576, 1),
    len: 11008,
};

fn header(xstate_bv: u64, xcomp_bv: u64) -> Example {
    Example { header: Header { xstate_bv, xcomp_bv, reserved: [0; 6] }, ..PLAIN }
}

fn reserved(word: usize, xcomp_bv: u64) -> Example {
    let mut example = header(0x7, xcomp_bv);
    example.header.reserved[word] = 1;
    example
}

fn mxcsr(example: Example, mxcsr: u32) -> Example {
    Example { mxcsr, ..example }
}

/// The example for each row, by its first cell.
fn examples() -> BTreeMap<&'static str, Example> {
    let bad = 1 << 31;
    [
        ("nothing wrong, standard format", PLAIN),
        ("nothing wrong, compacted format", header(0x207, COMPACTED | 0x1A07)),
        ("XSTATE_BV: a component that is not enabled", header(0x207 | 1 << 40, 0)),
        ("XSTATE_BV: a component that the host has and this guest's XCR0 has not", header(0x2E7, 0)),
        ("XSTATE_BV: a supervisor component, standard format", header(0xA07, 0)),
        ("XSTATE_BV: bit 63", header(COMPACTED | 0x207, 0)),
        ("XSTATE_BV: a component without a place in XCOMP_BV", header(0x207, COMPACTED | 0x7)),
        ("XCOMP_BV: bits without bit 63", header(0x207, 0x207)),
        ("XCOMP_BV: a component that is not enabled", header(0x207, COMPACTED | 0x207 | 1 << 40)),
        ("header bytes 16 to 23", reserved(0, 0)),
        ("header bytes 24 to 63, standard format", reserved(1, 0)),
        ("header bytes 24 to 63, compacted format", reserved(5, COMPACTED | 0x7)),
        ("MXCSR: bits that the CPU has not, SSE or AVX asked for", mxcsr(PLAIN, bad)),
        (
            "MXCSR: bits that the CPU has not, standard format, neither SSE nor AVX asked for",
            Example { requested: 0x1, ..mxcsr(PLAIN, bad) },
        ),
        ("MXCSR: bits that the CPU has not, only other components present", mxcsr(header(0x200, 0), bad)),
        (
            "MXCSR: bits that the CPU has not, compacted format without SSE",
            mxcsr(header(0x205, COMPACTED | 0x207), bad),
        ),
        ("MXCSR: not 0x1F80, standard format, neither SSE nor AVX present", mxcsr(header(0x201, 0), 0x3F80)),
        ("MXCSR: not 0x1F80, standard format, AVX without SSE", mxcsr(header(0x204, 0), 0x3F80)),
        ("PKRU absent", header(0x7, 0)),
        ("a component that XFD disables", Example { xfd: 1 << 18, ..header(0x6_0207, 0) }),
        (
            "values that a register refuses (CET, MPX, PASID, tile configuration)",
            Example { byte: (2752, 9), ..header(0x2_0207, 0) },
        ),
        ("fewer bytes than the components need", Example { len: 2695, ..PLAIN }),
    ]
    .into()
}

/// What the three readings do: words as in the table, without the rest of the cell, and names of faults.
struct Outcome {
    strict: Result<(), String>,
    hardware: Option<u8>,
    /// The quirks, where KVM takes the image.
    kvm: Result<Vec<String>, String>,
}

fn outcome(example: &Example) -> Outcome {
    let (geometry, guest) = (machines::sapphire_rapids(), ComponentSet::from_bits(example.guest));
    let cet = ComponentSet::from_bits(0x1800);
    let mut bytes = vec![0; 11008];
    bytes[24..28].copy_from_slice(&example.mxcsr.to_le_bytes());
    bytes[512..576].copy_from_slice(&example.header.to_bytes());
    bytes[example.byte.0] = example.byte.1;
    let name = |fault: ImageFault| match fault {
        ImageFault::Header(fault) => format!("{fault:?}"),
        fault => format!("{fault:?}"),
    };
    let (requested, xfd) = (ComponentSet::from_bits(example.requested), ComponentSet::from_bits(example.xfd));
    let restore =
        if example.header.xcomp_bv & COMPACTED == 0 { Restore::xrstor(guest) } else { Restore::xrstors(guest, cet) };
    let host = ComponentSet::from_bits(0x6_02E7);
    let vcpu = KvmVcpu { supported: host, buffer: host, xfd, mxcsr_mask: MxcsrMask::COMMON };
    Outcome {
        strict: Reader::new(&geometry, guest | cet).read(&bytes[..example.len]).map(|_| ()).map_err(name),
        hardware: hardware_fault(&example.header, example.mxcsr, &Restore { requested, xfd, ..restore })
            .map(|fault| fault.vector()),
        kvm: kvm_set_xsave(&example.header, example.mxcsr, &vcpu)
            .map(|loaded| loaded.quirks().map(|quirk| format!("{quirk:?}")).collect())
            .map_err(|refusal: KvmRefusal| format!("{refusal:?}")),
    }
}

/// The rows of the table: four cells each.
fn rows() -> Vec<[String; 4]> {
    let text = fs::read_to_string(FILE).unwrap_or_else(|error| panic!("{FILE}: {error}"));
    let section = text.split("## Images").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let cells = |line: &str| -> Option<[String; 4]> {
        let cells: Vec<String> = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().ok()
    };
    section.lines().filter(|line| line.starts_with("| ")).filter_map(cells).skip(1).collect()
}

/// The name of a variant, from what `Debug` prints of its value.
fn variant(value: &str) -> String {
    value.chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// What a cell names in code.
fn names(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn is_refused(cell: &str, refusal: &str) -> bool {
    cell.starts_with("refuses") && names(cell).contains(&variant(refusal))
}

#[test]
fn every_row_of_the_table_is_what_the_readings_do() {
    let mut examples = examples();
    for [what, strict, hardware, kvm] in rows() {
        let example = examples.remove(what.as_str()).unwrap_or_else(|| panic!("no example of `{what}`"));
        let outcome = outcome(&example);
        match &outcome.strict {
            Ok(()) => assert!(strict.starts_with("reads"), "{what}: strict reads"),
            Err(fault) => assert!(is_refused(&strict, fault), "{what}: strict refuses, {fault}"),
        }
        let words = match outcome.hardware {
            None => ["loads", "not told by the header", "reads what lies behind"].as_slice(),
            Some(7) => &["faults: #NM"],
            Some(_) => &["faults"],
        };
        let is_told = words.iter().any(|word| hardware.starts_with(word));
        assert!(is_told, "{what}: hardware {:?}", outcome.hardware);
        match &outcome.kvm {
            Ok(quirks) => {
                assert!(kvm.starts_with("takes") || kvm.starts_with("EFAULT"), "{what}: kvm takes");
                let quirks: Vec<String> = quirks.iter().map(|quirk| variant(quirk)).collect();
                assert_eq!(names(&kvm), quirks, "{what}");
            }
            Err(refusal) => assert!(is_refused(&kvm, refusal), "{what}: kvm refuses, {refusal}"),
        }
        // What strict refuses and hardware loads is marked, and nothing else.
        let is_extra = outcome.strict.is_err() && hardware.starts_with("loads");
        assert_eq!(strict.contains("(*more*)"), is_extra, "{what}");
    }
    assert!(examples.is_empty(), "not in the table: {:?}", examples.keys());
}

#[test]
fn every_rule_of_the_strict_reading_and_of_kvm_is_in_the_table() {
    let table: String = rows().concat().concat();
    let names = "NotEnabled Supervisor ReservedBit NoPlace CompactionBits PlaceNotEnabled Reserved ReservedTail Mxcsr \
                 Unlawful NoHeader TooShort Unsupported MxcsrIgnored MxcsrLostAtEntry PkruKept XfdDropped";
    for name in names.split_whitespace() {
        assert!(table.contains(&format!("`{name}`")), "{name}");
    }
}
