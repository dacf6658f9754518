//! Xen as the oracle of `cpuid` lines for `xl`.
//!
//! `SELFSAME_XEN` names a program that runs the shell script on its standard input as root in dom0 of a Xen with `xl` and
//! `xen-cpuid` (`cargo xtask xen` in a script will do, and `ssh HOST sh`), and writes what it says. Where it is not said,
//! the tests are skipped, loudly.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod corpus_files;
mod corpus_pools;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

use corpus_pools::{machines, pools};
use selfsame_cpuid::{
    FEATURES, Feature, Host, Kind, Leaves, Leveller, Offer, Place, Policy, Relation, Trims, Vendor, WordSource, feature,
};
use selfsame_formats::export::{Export, Target, export};
use selfsame_formats::{Format, Models};
use serde_json::Value;

/// Pools whose lines are read, for each kind of guest.
const POOLS: usize = 16;

/// Pools of Xen's own host and machines of the corpus for which a domain is made, for each kind of guest.
const DOMAINS: usize = 4;

/// What a policy of AMD's CPUs has for a kind of guest, and Xen does not give: `docs/export.md` says why.
const WITHHELD: [(Kind, &str); 1] = [(Kind::Hvm, "pks")];

const KINDS: [Kind; 2] = [Kind::Pv, Kind::Hvm];

/// The program that asks Xen.
fn xen() -> Option<String> {
    let path = std::env::var("SELFSAME_XEN").ok().filter(|path| !path.is_empty());
    if path.is_none() {
        // Not `eprintln`: the harness keeps what a passing test prints, and a skip must not look like a pass.
        let thread = std::thread::current();
        let line = format!("SKIPPED: {}: SELFSAME_XEN is not set\n", thread.name().unwrap_or("a test"));
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    path
}

/// What a script says in dom0.
fn ask(program: &str, script: &str) -> String {
    let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}: {}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A shell's words that write the configuration of a domain with a line.
fn configuration(kind: Kind, line: &str) -> String {
    let kind = if kind == Kind::Pv { "pv" } else { "pvh" };
    format!(
        "cat >/tmp/d.cfg <<'END'\nname = \"d\"\ntype = \"{kind}\"\nkernel = \"/tmp/guest\"\nmemory = 64\n{}\nEND\n",
        line.trim_end()
    )
}

/// A register of a line: leaf, subleaf, and name; or an MSR's number and `msr`.
type Register = (u32, Option<u32>, String);

/// What Xen understands of a line.
struct Understood {
    /// The digits of each register that it names, the highest bit first.
    registers: BTreeMap<Register, String>,
    /// What `xl` complains of. It leaves that out and goes on.
    complaints: Vec<String>,
}

/// What Xen understands of each line, without making a domain.
fn understood(program: &str, lines: &[(Kind, &str)]) -> Vec<Understood> {
    let mut script = String::new();
    for (kind, line) in lines {
        script += &configuration(*kind, line);
        script += "xl create -n /tmp/d.cfg 2>&1\necho == $?\n";
    }
    let answers = ask(program, &script);
    let understood: Vec<Understood> = answers.split_inclusive("== 0\n").map(meaning).collect();
    assert_eq!(understood.len(), lines.len(), "{answers}");
    understood
}

/// The meaning of a line in what `xl create -n` says: complaints, the domain as JSON, and the shell's word on its end.
fn meaning(said: &str) -> Understood {
    let (complaints, rest) = said.split_at(said.find('{').unwrap_or_else(|| panic!("{said}")));
    let complaints = complaints.lines().filter(|line| !line.starts_with("Parsing config from "));
    let domain: Value = serde_json::from_str(rest.strip_suffix("== 0\n").unwrap()).unwrap();
    let number = |row: &Value, key: &str| row[key].as_u64().and_then(|number| u32::try_from(number).ok());
    let digits = |row: &Value, key: &str| row[key].as_str().map(str::to_owned);
    let mut registers = BTreeMap::new();
    let cpuid = &domain["b_info"]["cpuid"];
    for row in cpuid["cpuid"].as_array().into_iter().flatten() {
        for name in ["eax", "ebx", "ecx", "edx"] {
            let register = (number(row, "leaf").unwrap(), number(row, "subleaf"), name.to_owned());
            registers.extend(digits(row, name).map(|digits| (register, digits)));
        }
    }
    for row in cpuid["msr"].as_array().into_iter().flatten() {
        let register = (number(row, "index").unwrap(), None, "msr".to_owned());
        registers.extend(digits(row, "policy").map(|digits| (register, digits)));
    }
    Understood { registers, complaints: complaints.map(str::to_owned).collect() }
}

/// What a line says of a bit.
fn digit(registers: &BTreeMap<Register, String>, place: Place) -> char {
    let (register, bit) = match place.word().source() {
        WordSource::Cpuid { leaf, subleaf, register } => ((leaf, subleaf, register.name().to_owned()), place.bit()),
        WordSource::Msr { index, is_high } => {
            ((index, None, "msr".to_owned()), place.bit() + if is_high { 32 } else { 0 })
        }
    };
    registers.get(&register).map_or('x', |digits| digits.chars().rev().nth(bit as usize).unwrap())
}

/// The features of which Xen can be told, and gives to guests of a kind.
fn rows(kind: Kind) -> impl Iterator<Item = &'static Feature> {
    let is_followed = |row: &&Feature| {
        matches!(row.relation, Relation::Derived | Relation::Dynamic | Relation::Local | Relation::Descriptive)
    };
    FEATURES.iter().filter(move |row| !is_followed(row) && !row.xen.is_empty() && row.offer_to(kind) != Offer::Never)
}

/// Whether a policy's own highest leaves reach a leaf.
fn reaches(policy: &Policy, leaf: u32, subleaf: Option<u32>) -> bool {
    let highest = |leaf| policy.leaves.get(leaf, 0).eax;
    match leaf {
        0x8000_0000.. => leaf <= highest(0x8000_0000),
        7 => highest(0) >= 7 && subleaf.unwrap_or(0) <= highest(7),
        _ => leaf <= highest(0),
    }
}

fn line(policy: &Policy) -> Export {
    export(policy, "pool", Target::Xl, Models::known()).unwrap()
}

/// Whether a note says of a feature that a reason.
fn is_noted(export: &Export, row: &Feature, reason: &str) -> bool {
    export.notes.iter().any(|note| note.reason.contains(reason) && note.what.iter().any(|what| what == row.name))
}

/// Policies of both kinds of which some have something in MSR_ARCH_CAPS, so that every form of line is among them.
fn levels() -> Vec<(String, Policy)> {
    let mut levels = Vec::new();
    for kind in KINDS {
        let all = pools(machines(), kind, POOLS * 32);
        let (with, without): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|pool| pool.level.leaves.msr(0x10a) != Some(0));
        let half = POOLS / 2;
        levels.extend(with.into_iter().take(half).chain(without.into_iter().take(half)).map(|p| (p.name(), p.level)));
    }
    levels
}

/// Where Xen understands a line in another way than it is meant.
fn misunderstood(level: &Policy, export: &Export, understood: &Understood) -> Vec<String> {
    let (mut faults, mut unknown) = (Vec::new(), Vec::new());
    for complaint in &understood.complaints {
        let name = complaint.strip_prefix("while parsing CPUID flag: \"").and_then(|rest| rest.split_once('='));
        match name.and_then(|(name, _)| feature(name)).filter(|row| is_noted(export, row, "complains")) {
            Some(row) => unknown.push(row.name),
            None if complaint == "  error #2: unknown CPUID flag name" => {}
            None => faults.push(complaint.clone()),
        }
    }
    let registers = &understood.registers;
    // Xen makes no domain where a line names a leaf that the host has not.
    for (leaf, subleaf, name) in registers.keys() {
        if name != "msr" && !reaches(level, *leaf, *subleaf) {
            faults.push(format!("leaf {leaf:x} {subleaf:x?} is named, and the level has it not"));
        }
    }
    // Registers are said with the highest leaves, and names without.
    let last = registers.get(&(0, None, "eax".to_owned())).map(|digits| u32::from_str_radix(digits, 2).unwrap());
    let ends_leaves = last.is_some();
    for row in rows(level.kind) {
        let (is_msrs, is_reached, leaf) = match row.place.word().source() {
            WordSource::Cpuid { leaf, subleaf, .. } => {
                let is_ended = leaf < 0x8000_0000 && last.is_some_and(|last| leaf > last);
                (false, reaches(level, leaf, subleaf) && !is_ended, leaf)
            }
            WordSource::Msr { index, .. } => (true, true, index),
        };
        let is_hosts = is_noted(export, row, "each host's");
        let is_asked = row.offer_to(level.kind) == Offer::Request || row.relation == Relation::Any;
        let has = level.leaves.has(row.place);
        let expected = match has {
            _ if is_noted(export, row, "hidden") => '0',
            _ if is_hosts || unknown.contains(&row.name) => 'x',
            // Without ARCH_CAPABILITIES no guest has the MSR.
            _ if is_msrs && ends_leaves => 'x',
            false if is_reached => '0',
            true if is_asked => '1',
            _ => 'x',
        };
        let found = digit(registers, row.place);
        if found != expected {
            faults.push(format!("{} is {found}, not {expected}", row.name));
        }
        if leaf == 7 && !has && !is_reached && !ends_leaves && !is_hosts {
            faults.push(format!("no note says that {} is the host's", row.name));
        }
    }
    faults
}

/// Lines that are none. Were these understood, it would say nothing that ours are.
const NO_LINES: [&str; 12] = [
    "cpuid = \"host,nonsense=0\"",
    "cpuid = \"host,avx\"",
    "cpuid = \"host,avx=maybe\"",
    "cpuid = \"host,AVX=0\"",
    "cpuid = \"host,avx512_vbmi=0\"",
    "cpuid = \"host,maxphysaddr=39\"",
    "cpuid = \"avx=0\"",
    "cpuid = \"0x1:ecx=xxx0xxxxxxxxxxxxxxxxxxxxxxxxxxxx\"",
    "cpuid = [\"host,avx=0\"]",
    "cpuid = [\"0x1:ecx\"]",
    "cpuid = [\"0x1:ecx=012\"]",
    "cpuid = [\"0x1:efx=xxx0xxxxxxxxxxxxxxxxxxxxxxxxxxxx\"]",
];

#[test]
fn xen_understands_our_lines_as_they_are_meant_and_complains_of_others() {
    let Some(program) = xen() else { return };
    let levels = levels();
    assert!(machines().is_empty() || levels.len() == KINDS.len() * POOLS, "{}", levels.len());
    let exports: Vec<Export> = levels.iter().map(|(_, level)| line(level)).collect();
    let ours = levels.iter().zip(&exports).map(|((_, level), export)| (level.kind, &*export.text));
    let lines: Vec<(Kind, &str)> = ours.chain(NO_LINES.map(|line| (Kind::Pv, line))).collect();
    let understood = understood(&program, &lines);
    let (ours, others) = understood.split_at(levels.len());
    let mut faults = Vec::new();
    for (((name, level), export), understood) in levels.iter().zip(&exports).zip(ours) {
        let found = misunderstood(level, export, understood);
        faults.extend(found.into_iter().map(|fault| format!("{} {name}: {fault}", level.kind)));
    }
    assert!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());
    for (line, understood) in NO_LINES.iter().zip(others) {
        assert!(!understood.complaints.is_empty(), "{line}: {:?}", understood.registers);
    }
}

/// The file of a guest that stops where it begins, for PV and PVH: one page, and the notes that Xen looks for
/// (`xen/include/public/elfnote.h`).
fn guest() -> Vec<u8> {
    const ENTRY: u32 = 1;
    const VIRT_BASE: u32 = 3;
    const XEN_VERSION: u32 = 5;
    const GUEST_OS: u32 = 6;
    const PAE_MODE: u32 = 9;
    const PHYS32_ENTRY: u32 = 18;
    const PHYSICAL: u64 = 0x10_0000;
    const VIRTUAL: u64 = 0xffff_ffff_8000_0000;
    const NOTES: usize = 0x100;
    const CODE: usize = 0x400;
    let entry = PHYSICAL + CODE as u64;
    let note = |kind: u32, value: &[u8]| {
        let sizes = [4, u32::try_from(value.len()).unwrap(), kind].map(u32::to_le_bytes).concat();
        let mut note = [&sizes, &b"Xen\0"[..], value].concat();
        note.resize(note.len().next_multiple_of(4), 0);
        note
    };
    let notes = [
        note(GUEST_OS, b"linux\0"),
        note(XEN_VERSION, b"xen-3.0\0"),
        note(PAE_MODE, b"yes\0"),
        note(VIRT_BASE, &VIRTUAL.to_le_bytes()),
        note(ENTRY, &(VIRTUAL + entry).to_le_bytes()),
        note(PHYS32_ENTRY, &entry.to_le_bytes()),
    ]
    .concat();
    let halves = |words: &[u16]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let quads = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let segment = |kind: u32, flags: u32, at: usize, len: u64| {
        let at = at as u64;
        let head = [kind, flags].map(u32::to_le_bytes).concat();
        [head, quads(&[at, VIRTUAL + PHYSICAL + at, PHYSICAL + at, len, len, 0x1000])].concat()
    };
    let mut file = [
        b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec(),
        halves(&[2, 62, 1, 0]),
        quads(&[entry, 64, 0]),
        halves(&[0, 0, 64, 56, 2, 0, 0, 0]),
        segment(1, 7, 0, 0x1000),
        segment(4, 4, NOTES, notes.len() as u64),
    ]
    .concat();
    file.resize(NOTES, 0);
    file.extend(notes);
    file.resize(CODE, 0);
    // CLI; HLT; and again.
    file.extend(b"\xfa\xf4\xeb\xfd");
    file.resize(0x1000, 0);
    file
}

/// The shell's words that write the guest's file.
fn guest_file() -> String {
    let octal: String = guest().iter().map(|byte| format!("\\{byte:03o}")).collect();
    format!("printf '{octal}' >/tmp/guest\n")
}

/// The leaves of one policy in what `xen-cpuid -p` prints; of several, the CPU's own.
fn leaves(text: &str) -> Leaves {
    selfsame_formats::read(text.as_bytes(), "xen", Some(Format::XenPolicy)).unwrap().raw().leaves
}

/// Levels of Xen's own host, alone and with machines from all over the corpus.
fn levels_with(host: &Leaves) -> Vec<(String, Policy)> {
    let mut levels = Vec::new();
    for kind in KINDS {
        let level = |peers: &[&(String, Leaves)]| {
            let mut leveller = Leveller::new(kind);
            leveller.add("xen", Host::from_hardware(host, kind, &Trims::NONE).default());
            for (name, peer) in peers {
                leveller.add(name, Host::from_hardware(peer, kind, &Trims::NONE).default());
            }
            leveller.finish().ok()
        };
        let alone = level(&[]).unwrap();
        // Such a policy is said by name. AMD's CPUs have no such MSR, and Xen leaves it at that.
        let mut announcing = alone.clone();
        announcing.leaves.insert(feature("arch-capabilities").unwrap().place);
        announcing.leaves.set_msr(0x10a, 1).unwrap();
        levels.extend([("alone".to_owned(), alone), ("by name".to_owned(), announcing)]);
        let peers = machines().iter().flatten().filter(|(_, raw)| raw.vendor() == host.vendor());
        let of_two: Vec<_> = peers.filter_map(|peer| Some((peer.0.clone(), level(&[peer])?))).collect();
        levels.extend(of_two.iter().step_by(of_two.len().div_ceil(DOMAINS).max(1)).cloned());
    }
    levels
}

#[test]
fn xen_gives_a_domain_the_policy_that_its_line_is_for() {
    let Some(program) = xen() else { return };
    let first = ask(&program, "xen-cpuid -p\n");
    let host = leaves(&first);
    let levels = levels_with(&host);
    assert!(machines().is_empty() || levels.len() == KINDS.len() * (2 + DOMAINS), "{}", levels.len());
    let mut script = guest_file() + "xen-cpuid -p\n";
    let exports: Vec<Export> = levels.iter().map(|(_, level)| line(level)).collect();
    for ((_, level), export) in levels.iter().zip(&exports) {
        script += &configuration(level.kind, &export.text);
        script += "echo ==\nxl create -p /tmp/d.cfg && xen-cpuid -p $(xl domid d) && xl destroy d\n";
    }
    let text = ask(&program, &script);
    let (again, answers) = text.split_once("==\n").unwrap_or_else(|| panic!("{text}"));
    assert_eq!(again, first, "another host than before");
    let answers: Vec<&str> = answers.split("==\n").collect();
    assert_eq!(answers.len(), levels.len(), "{text}");
    let (mut faults, mut differences) = (Vec::new(), BTreeSet::new());
    for (((name, level), export), answer) in levels.iter().zip(&exports).zip(answers) {
        let mut fault = |what: String| faults.push(format!("{} {name}: {what}", level.kind));
        if !answer.contains("policy:") {
            fault(answer.to_owned());
            continue;
        }
        let domain = leaves(answer);
        let is_of_msr = |row: &&Feature| matches!(row.place.word().source(), WordSource::Msr { .. });
        for row in rows(level.kind).filter(|row| row.name != "arch-capabilities" && !is_of_msr(row)) {
            let (found, expected) = (domain.has(row.place), level.leaves.has(row.place));
            if found != expected {
                differences.insert((level.kind, row.name));
                if found || !WITHHELD.contains(&(level.kind, row.name)) {
                    fault(format!("{} is {found}", row.name));
                }
            }
        }
        for leaf in [0, 7, 0x8000_0000] {
            let (found, expected) = (domain.get(leaf, 0).eax, level.leaves.get(leaf, 0).eax);
            let is_noted = export.notes.iter().any(|note| note.what == ["highest leaf"]);
            if found != expected && !(leaf == 0 && is_noted && found == 6) {
                fault(format!("{leaf:#x}.eax is {found:#x}, not {expected:#x}"));
            }
        }
        let (found, expected) = (domain.signature(), level.leaves.signature());
        if found != expected {
            fault(format!("it is {found:?}, not {expected:?}"));
        }
        // There is no name for it.
        let bits = |leaves: &Leaves| leaves.get(0x8000_0008, 0).eax & 0xff;
        if name != "by name" && bits(&domain) != bits(&level.leaves) {
            fault(format!("maxphysaddr is {}, not {}", bits(&domain), bits(&level.leaves)));
        }
    }
    assert!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());
    let withheld = WITHHELD.into_iter().filter(|(_, name)| host.has(feature(name).unwrap().place));
    assert_eq!(differences, withheld.filter(|_| host.vendor() == Vendor::Amd).collect());
}
