//! The feature table holds against dumps of real CPUs: what they set has a name, and what they have, its prerequisites.
#![expect(clippy::panic, reason = "a helper that panics is a test that fails")]

use std::collections::{BTreeMap, BTreeSet};

use selfsame_cpuid::{FEATURES, Featureset, Place, Relation, VALUES, Word};

mod table_instlatx64;
mod table_reference;

use table_instlatx64::{Dump, dumps};
use table_reference::{assert_all_listed, named};

/// Bits that dumps set and the table does not name, and what is known of each.
const UNNAMED: [(&str, &str); 37] = [
    ("00000006.eax[21]", "reserved in the SDM; Granite Rapids alone"),
    ("00000006.ecx[1]", "ACNT2 of Intel's older manuals, a second pair of clock counters; gone since Nehalem"),
    ("00000006.ecx[30]", "no manual; one engineering sample of AMD family 17h"),
    (
        "00000007.1.ecx[1]",
        "asymmetrical allocation of caches, Intel ISE reference: a matter of the host's classes of service",
    ),
    (
        "00000007.2.edx[7]",
        "MONITOR_MITG_NO of the SDM: not open to what MSR 0x10A bit 30 mitigates; neither KVM nor Xen gives it",
    ),
    ("0000000a.edx[13]", "reserved in the SDM; one Atom of 2008"),
    ("0000000a.edx[14]", "reserved in the SDM; Silvermont cores"),
    ("0000000f.1.edx[3]", "no manual; both dumps have a row at odds with subleaf 0, and holes in leaf 0xD: damaged"),
    ("00000010.0.ebx[6]", "no manual; the cores of Arrow Lake and later"),
    (
        "00000023.3.eax[12]",
        "LBR inserts, an architectural event of the SDM, as 0000000a.ebx[12]; leaf 0x23 is given to no guest",
    ),
    ("80000001.ecx[25]", "StreamPerfMon of AMD's family 15h BKDG, models 30h and later; reserved today"),
    ("80000007.ebx[5]", "LwSmi of AMD's PPRs: system management mode, the host's"),
    (
        "80000008.ebx[10]",
        "LbrExtn of AMD's PPRs for Zen 2 and 3, reserved since; no guest is given branch records there",
    ),
    ("8000000a.edx[8]", "PmcVirtualization of the APM: counters of guests in hardware; no hypervisor names it yet"),
    ("8000000a.edx[9]", "Ssse3Sse5Dis of AMD's early BKDGs, a plan that came to nothing; one Bobcat"),
    ("8000000a.edx[11]", "reserved in the APM; all of AMD's CPUs since Piledriver"),
    ("8000000a.edx[31]", "EnhancedShutdownIntercept of the APM; no hypervisor names it yet"),
    ("8000001a.eax[3]", "FP512 of AMD's PPRs: the width of data paths, as its neighbours; Zen 5"),
    ("8000001b.eax[12]", "IBS filter by load latency, Linux's IBS_CAPS_OPLDLAT; no guest is given IBS by default"),
    ("8000001b.eax[19]", "IBS statistics of the TLB, Linux's IBS_CAPS_DTLB_PGSIZE; no guest is given IBS by default"),
    ("8000001f.eax[20]", "PmcVirtGuestCtl of the APM: counters of encrypted guests"),
    ("8000001f.eax[22]", "GuestInterceptControl of the APM: intercepts of encrypted guests"),
    ("8000001f.eax[26]", "SecureAvic of the APM: the local APIC of encrypted guests"),
    ("8000001f.eax[31]", "IbpbOnEntry of the APM: a barrier at each entry of an encrypted guest"),
    ("80000021.eax[12]", "PMC2PreciseRetire of AMD's PPRs: an option of one counter"),
    (
        "80000021.eax[14]",
        "L2TlbSizeX32 of AMD's PPRs: TLB sizes of leaf 0x80000006 count by 32; guests without it read too little",
    ),
    ("80000021.eax[15]", "AMD_ERMSB of AMD's PPRs: Intel's erms by AMD's own bit, a hint"),
    ("80000021.eax[21]", "FP512_DOWNGRADE of AMD's PPRs: 512-bit data paths narrowed to 256, about speed"),
    ("80000022.ebx[22]", "a seventh bit of the number of memory counters: Strix Halo says 64"),
    ("80860001.edx[2]", "no manual; Transmeta's bits end with LRTI, bit 3"),
    ("80860001.edx[6]", "no manual; Transmeta's bits end with LRTI, bit 3"),
    ("80860001.edx[7]", "no manual; Transmeta's bits end with LRTI, bit 3"),
    ("80860001.edx[8]", "no manual; Transmeta's bits end with LRTI, bit 3"),
    ("msr:0000010a[22]", "reserved in the SDM; Arrow Lake and Bartlett Lake"),
    ("msr:00000480[57]", "reserved in the SDM; Alder Lake and later"),
    ("msr:00000485[9]", "reserved in the SDM; one Yorkfield"),
    (
        "msr:0000048c[48]",
        "part of the greatest HLAT prefix, bits 53:48, SDM vol. 3D, A.10; KVM gives nested guests no HLAT",
    ),
];

/// Leaves that dumps have, below their highest leaf, and that no policy holds.
const OUTSIDE: [(&str, &str); 6] = [
    ("00000008", "reserved in the SDM; 0x400 on Core 2"),
    ("0000000c", "reserved in the SDM; two Broadwells"),
    ("80000025", "segments of the reverse map table, APM: of the host that runs encrypted guests"),
    ("80000027", "no manual; family 1Ah; judgement: the classes of workload that 80000021.eax[22] announces"),
    ("c0000005", "no manual; Zhaoxin"),
    ("c0000006", "no manual; Zhaoxin KX-7000"),
];

/// The bits that have a row, of their own or within a value.
fn known() -> Vec<u32> {
    let mut words: Vec<u32> = Word::all().map(|_| 0).collect();
    let features = FEATURES.iter().map(|row| (row.place.word(), row.place.mask()));
    for (word, mask) in features.chain(VALUES.iter().map(|row| (row.word, row.mask()))) {
        if let Some(known) = words.get_mut(word.index()) {
            *known |= mask;
        }
    }
    words
}

/// The bits that a dump sets and the table does not name.
fn unnamed<'a>(dump: &'a Dump, known: &'a [u32]) -> impl Iterator<Item = Place> + 'a {
    let per_cpu =
        dump.cpus.iter().flat_map(move |cpu| Word::all().zip(known).map(|(word, k)| (word, cpu.word(word) & !k)));
    per_cpu.flat_map(|(word, bits)| {
        (0..32).filter(move |bit| bits >> bit & 1 == 1).filter_map(move |bit| Place::new(word, bit))
    })
}

#[test]
fn every_bit_that_a_dump_sets_is_named_or_listed_as_unknown() {
    let Some(dumps) = dumps("every_bit_that_a_dump_sets_is_named_or_listed_as_unknown") else { return };
    let known = known();
    let mut found: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for dump in &dumps {
        for place in unnamed(dump, &known) {
            found.entry(place.to_string()).or_default().insert(&dump.name);
        }
    }
    for (place, names) in &found {
        let example = names.first().copied().unwrap_or_default();
        println!("unnamed: {place} set by {} dumps, for example {example}", names.len());
    }
    let listed = UNNAMED.iter().map(|row| row.0.to_owned()).collect();
    assert_all_listed("bits without a name", &found.into_keys().collect(), &listed);
}

#[test]
fn every_leaf_that_a_dump_has_is_in_the_model_or_listed() {
    let Some(dumps) = dumps("every_leaf_that_a_dump_has_is_in_the_model_or_listed") else { return };
    let found = dumps.iter().flat_map(|dump| &dump.outside).map(|leaf| format!("{leaf:08x}")).collect();
    let listed = OUTSIDE.iter().map(|row| row.0.to_owned()).collect();
    assert_all_listed("leaves outside the model", &found, &listed);
}

/// Prerequisites that real CPUs break: the feature, what it needs, the dumps, and the cause.
const BROKEN: [(&str, &str, &[&str], &str); 4] = [
    (
        "amd-ibrs-same-mode",
        "ibrs",
        &["AuthenticAMD0830F10_K17_Rome_CPUID6.txt"],
        "an early Rome announces how good IBRS is, and not IBRS: its microcode came before the control",
    ),
    (
        "ibrs-fast",
        "ibrs",
        &["AuthenticAMD0830F10_K17_Rome_CPUID6.txt"],
        "an early Rome announces how good IBRS is, and not IBRS: its microcode came before the control",
    ),
    (
        "lahf-lm",
        "lm",
        &["GenuineIntel0020672_Medfield_CPUID.txt", "GenuineIntel0030651_Cloverview_CPUID.txt"],
        "Atoms with long mode fused off, and the bit of LAHF in it left on",
    ),
    (
        "nx",
        "pae",
        &[
            "Virtual CPU 0000F4A_BCM2837B0_CPUID.txt",
            "Virtual CPU 0000F4A_Snap835_CPUID.txt",
            "Virtual CPU 0000F4A_Snap850_CPUID.txt",
        ],
        "no hardware: Windows' emulator of 32-bit x86 on ARM, which has no page tables to show",
    ),
];

/// The prerequisites that a set of features lacks, as feature and what it needs.
fn broken(set: &Featureset) -> impl Iterator<Item = (&'static str, Place)> + '_ {
    let is_asked = |relation| !matches!(relation, Relation::Derived | Relation::Dynamic | Relation::Local);
    let rows = FEATURES.iter().filter(move |row| set.contains(row.place) && is_asked(row.relation));
    rows.flat_map(|row| row.needs.iter().filter(|&&needs| !set.contains(needs)).map(|&needs| (row.name, needs)))
}

#[test]
fn every_prerequisite_holds_on_real_cpus_but_for_listed_dumps() {
    let Some(dumps) = dumps("every_prerequisite_holds_on_real_cpus_but_for_listed_dumps") else { return };
    let mut found = BTreeSet::new();
    for dump in &dumps {
        for cpu in &dump.cpus {
            found.extend(broken(&cpu.features()).map(|(name, needs)| format!("{name} needs {needs}: {}", dump.name)));
        }
    }
    let mut listed = BTreeSet::new();
    for (name, needs, files, cause) in BROKEN {
        assert!(cause.len() > 10, "{name} needs {needs}");
        listed.extend(files.iter().map(|file| format!("{name} needs {}: {file}", named(needs).place)));
    }
    assert_all_listed("prerequisites that real CPUs break", &found, &listed);
}
