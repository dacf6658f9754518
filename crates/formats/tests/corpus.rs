//! Every dump of the InstLatx64 corpus against its index, and the samples of `cpuid -r`.

#![expect(clippy::unwrap_used, reason = "a panic in a test is the failure itself")]

mod corpus_files;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use selfsame_cpuid::{Regs, Signature, VendorName};
use selfsame_formats::{CpuDump, Dump, Finding, Format, detect, read, write_capture};

/// Splits a line of comma-separated values; a field may stand in quotes.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    for c in line.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            _ => fields.last_mut().unwrap().push(c),
        }
    }
    fields
}

fn index(corpus: &Path) -> Vec<Described> {
    let text = std::fs::read_to_string(corpus.join("instlatx64-index.csv")).unwrap();
    let mut lines = text.lines().map(fields);
    let names = lines.next().unwrap();
    lines
        .map(|row| {
            assert_eq!(row.len(), names.len(), "{row:?}");
            names.iter().cloned().zip(row).collect()
        })
        .collect()
}

/// A line of the index, by column.
type Described = BTreeMap<String, String>;

/// A dump with its line of the index.
type Indexed = (Described, Vec<u8>);

/// Every dump with its line of the index; `None` without a corpus.
fn dumps() -> Option<&'static [Indexed]> {
    static DUMPS: OnceLock<Option<Vec<Indexed>>> = OnceLock::new();
    DUMPS.get_or_init(unpacked).as_deref()
}

fn unpacked() -> Option<Vec<Indexed>> {
    let index = index(&corpus_files::corpus()?);
    let mut files: BTreeMap<String, Vec<u8>> = corpus_files::instlatx64().into_iter().collect();
    assert_eq!((index.len(), files.len()), (155, 155));
    let with_bytes = |row: Described| {
        let stem = Path::new(&row["file"]).file_stem().unwrap().to_string_lossy().into_owned();
        let bytes = files.remove(&stem).unwrap_or_else(|| unreachable!("the corpus has no {stem}"));
        (row, bytes)
    };
    Some(index.into_iter().map(with_bytes).collect())
}

/// What the index says, computed from a dump.
fn described(dump: &Dump) -> BTreeMap<&'static str, String> {
    let cpu = &dump.cpus[0];
    let leaf_0 = cpu.get(0, 0).unwrap();
    let leaf_1 = cpu.get(1, 0).unwrap();
    let signature = Signature::of(leaf_1.eax);
    let xcr0 = cpu.get(0xd, 0).map_or(0, |r| u64::from(r.edx) << 32 | u64::from(r.eax));
    let xsave = cpu.get(0xd, 1);
    let flag = |is_set: bool| u32::from(is_set).to_string();
    let seven = |cpu: &CpuDump| cpu.get(7, 0).unwrap_or_default();
    let has = |leaf, subleaf| flag(dump.cpus.iter().any(|cpu| cpu.get(leaf, subleaf).is_some()));
    let arch_caps = dump.cpus.iter().find_map(|cpu| cpu.msr(0x10a));
    BTreeMap::from([
        ("vendor", VendorName::of(leaf_0).to_string()),
        ("family", signature.family.to_string()),
        ("model", format!("{:#x}", signature.model)),
        ("stepping", format!("{:#x}", signature.stepping)),
        ("signature", format!("{:08x}", leaf_1.eax)),
        ("max_basic", format!("{:x}", leaf_0.eax)),
        ("max_ext", cpu.get(0x8000_0000, 0).map_or("0".into(), |r| format!("{:x}", r.eax))),
        ("cpu_sections", dump.cpus.len().to_string()),
        ("xcr0", format!("{xcr0:x}")),
        ("xss", xsave.map_or(String::new(), |r| format!("{:x}", u64::from(r.edx) << 32 | u64::from(r.ecx)))),
        ("d1_eax", xsave.map_or(String::new(), |r| format!("{:x}", r.eax))),
        ("leaf7_sub1", has(7, 1)),
        ("leaf7_sub2", has(7, 2)),
        ("leafD_lines", cpu.leaves.keys().filter(|(leaf, _)| *leaf == 0xd).count().to_string()),
        ("leafD_sub1", flag(xsave.is_some())),
        ("leaf14", has(0x14, 0)),
        ("leaf19", has(0x19, 0)),
        ("leaf1d", has(0x1d, 0)),
        ("leaf1e", has(0x1e, 0)),
        ("leaf23", has(0x23, 0)),
        ("leaf24", has(0x24, 0)),
        ("ext8", has(0x8000_0008, 0)),
        ("physbits", cpu.get(0x8000_0008, 0).map_or(String::new(), |r| (r.eax & 0xff).to_string())),
        ("ext21", has(0x8000_0021, 0)),
        ("avx512f", flag(dump.cpus.iter().any(|cpu| seven(cpu).ebx >> 16 & 1 == 1))),
        ("amx", flag(dump.cpus.iter().any(|cpu| seven(cpu).edx >> 24 & 1 == 1))),
        ("hypervisor", flag(leaf_1.ecx >> 31 == 1)),
        ("arch_caps", arch_caps.map_or(String::new(), |value| format!("{value:x}"))),
        ("vmx_msrs", {
            let is_vmx = |index: &u32| (0x480..=0x493).contains(index);
            let of = |cpu: &CpuDump| cpu.msrs.iter().filter(|(i, v)| is_vmx(i) && v.is_some()).count();
            flag(dump.cpus.iter().any(|cpu| of(cpu) > 0))
        }),
    ])
}

/// Where a dump says something else than its index, and why: file, column, what the dump says.
///
/// The index has `?` or nothing where its author could not tell whether an untagged row is subleaf 1 or 2.
const EXCEPTIONS: [(&str, &str, &str); 13] = [
    // The second row has the size and offset of AVX: subleaf 2.
    ("AuthenticAMD/AuthenticAMD0610F01_K15_Piledriver_CPUID2.txt", "leafD_sub1", "0"),
    ("GenuineIntel/GenuineIntel00206A7_SandyBridge2_CPUID.txt", "leafD_sub1", "0"),
    ("GenuineIntel/GenuineIntel00206D6_SandyBridgeE_CPUID.txt", "leafD_sub1", "0"),
    ("GenuineIntel/GenuineIntel00306A9_IvyBridgeWS_CPUID.txt", "leafD_sub1", "0"),
    ("GenuineIntel/GenuineIntel00306E4_IvyBridgeEP_CPUID.txt", "leafD_sub1", "0"),
    ("GenuineIntel/GenuineIntel0040651_HaswellULT_CPUID.txt", "leafD_sub1", "0"),
    // The second row has flags: subleaf 1.
    ("GenuineIntel/GenuineIntel0050654_SkylakeXeon_CPUID16.txt", "leafD_sub1", "1"),
    ("GenuineIntel/GenuineIntel0050654_SkylakeXeon_CPUID16.txt", "d1_eax", "f"),
    ("GenuineIntel/GenuineIntel0050654_SkylakeXeon_CPUID16.txt", "xss", "100"),
    ("GenuineIntel/GenuineIntel00606A6_ICX_04_CPUID.txt", "leafD_sub1", "1"),
    ("GenuineIntel/GenuineIntel00606A6_ICX_04_CPUID.txt", "d1_eax", "f"),
    ("GenuineIntel/GenuineIntel00606A6_ICX_04_CPUID.txt", "xss", "100"),
    // Leaf 7 lies beyond the highest basic leaf, 2, and is left out.
    ("GenuineIntel/GenuineIntel0000590_Clanton_03_CPUID.txt", "leaf7_sub1", "0"),
];

#[test]
fn every_dump_says_what_the_index_says() {
    let Some(dumps) = dumps() else { return };
    let mut differences = Vec::new();
    for (row, bytes) in dumps {
        assert_eq!(detect(bytes), Some(Format::InstLatX64), "{}", row["file"]);
        let dump = read(bytes, &row["file"], None).unwrap_or_else(|error| panic!("{}: {error}", row["file"]));
        for (column, value) in described(&dump) {
            if row[column] != value {
                differences.push((row["file"].clone(), column, value));
            }
        }
    }
    let mut expected: Vec<_> =
        EXCEPTIONS.map(|(file, column, value)| (file.to_owned(), column, value.to_owned())).into();
    expected.sort();
    differences.sort();
    assert_eq!(differences, expected);
}

/// The dirt of the corpus that its notes list: file, what, part of the reason.
const DIRT: [(&str, &str, &str); 32] = [
    ("AuthenticAMD/AuthenticAMD0000F51_K8_Sledgehammer_CPUID.txt", "8fffffff", "no leaves of its kind"),
    ("AuthenticAMD/AuthenticAMD0610F01_K15_Piledriver_CPUID2.txt", "0000000d.3e", "missing"),
    ("AuthenticAMD/AuthenticAMD0630F81_K15_Godavari_CPUID2.txt", "0000000d.3e", "all zero"),
    ("AuthenticAMD/AuthenticAMD0850F00_K17_Zen_CPUID3.txt", "00000001.ecx[31]", "a guest's view"),
    ("AuthenticAMD/AuthenticAMD0850F00_K17_Zen_CPUID3.txt", "0000000d.2", "all zero"),
    ("AuthenticAMD/AuthenticAMD0A20F10_K19_Vermeer_CPUID1.txt", "0000000d.9", "all zero"),
    ("CentaurHauls/CentaurHauls00307B2_KX6000_01_CPUID.txt", "msr:0000010a", "the file has no value"),
    ("CentaurHauls/CentaurHauls00607B1_KX7000_05_CPUID.txt", "msr:0000010a", "the file has no value"),
    ("GenuineIntel/GenuineIntel0000590_Clanton_03_CPUID.txt", "00000007", "highest leaf of its kind is 00000002"),
    ("GenuineIntel/GenuineIntel00306C3_Haswell_CPUID11.txt", "0000000d.2", "all zero"),
    ("GenuineIntel/GenuineIntel0050654_SkylakeXeon_CPUID16.txt", "80860000", "repeats the highest basic leaf"),
    ("GenuineIntel/GenuineIntel0050654_SkylakeXeon_CPUID16.txt", "c0000000", "repeats the highest basic leaf"),
    ("GenuineIntel/GenuineIntel0050656_CascadeLakeSP_CPUID.txt", "0000000d.9", "all zero"),
    ("GenuineIntel/GenuineIntel0050656_CascadeLakeSP_CPUID.txt", "msr:0000010a", "the file has no value"),
    ("GenuineIntel/GenuineIntel0050671_KnightsLanding_CPUID2.txt", "0000000d.5", "missing"),
    ("GenuineIntel/GenuineIntel0050671_KnightsLanding_CPUID2.txt", "0000000d.6", "missing"),
    ("GenuineIntel/GenuineIntel0050671_KnightsLanding_CPUID2.txt", "0000000d.7", "all zero"),
    ("GenuineIntel/GenuineIntel00606A6_ICX_04_CPUID.txt", "0000000d.5", "missing"),
    ("GenuineIntel/GenuineIntel00606A6_ICX_04_CPUID.txt", "0000000d.6", "missing"),
    ("GenuineIntel/GenuineIntel00606A6_ICX_04_CPUID.txt", "0000000d.7", "missing"),
    ("GenuineIntel/GenuineIntel00606A6_ICX_04_CPUID.txt", "0000000d.9", "missing"),
    ("GenuineIntel/GenuineIntel00606A6_ICX_04_CPUID.txt", "msr:0000010a", "the file has no value"),
    ("GenuineIntel/GenuineIntel00606C1_ICX_01v_CPUID.txt", "00000001.ecx[31]", "a guest's view"),
    ("GenuineIntel/GenuineIntel00706A1_GoldmontPlus_CPUID2.txt", "0000000d.3", "missing"),
    ("GenuineIntel/GenuineIntel00706A1_GoldmontPlus_CPUID2.txt", "0000000d.4", "missing"),
    ("GenuineIntel/GenuineIntel00806EB_WhiskeyLake_CPUID.txt", "msr:0000010a", "the file has no value"),
    ("GenuineIntel/GenuineIntel00906ED_CoffeeLake_CPUID.txt", "msr:0000010a", "the file has no value"),
    ("GenuineIntel/GenuineIntel00C06C3_PantherLakeL_01_CPUID.txt", "msr:0000010a", "the file has no value"),
    ("Virtual_CPU_/Virtual CPU 0000F4A_BCM2837B0_CPUID.txt", "vendor", "emulator"),
    ("Virtual_CPU_/Virtual CPU 0000F4A_Snap835_CPUID.txt", "vendor", "emulator"),
    ("Virtual_CPU_/Virtual CPU 0000F4A_Snap850_CPUID.txt", "vendor", "emulator"),
    ("Virtual_CPU_/Virtual CPU 001067F_Snap835_CPUID.txt", "vendor", "emulator"),
];

#[test]
fn the_dirt_of_the_corpus_is_named() {
    let Some(dumps) = dumps() else { return };
    let mut found = Vec::new();
    for (row, bytes) in dumps {
        let dump = read(bytes, "host", None).unwrap();
        let findings = dump.findings.into_iter().filter(|finding| !is_about_reading_msrs(finding));
        found.extend(findings.map(|finding| (row["file"].clone(), finding.what, finding.reason)));
    }
    found.sort();
    assert_eq!(found.len(), DIRT.len(), "{found:#?}");
    for ((file, what, reason), expected) in found.iter().zip(DIRT) {
        assert_eq!((file.as_str(), what.as_str()), (expected.0, expected.1));
        assert!(reason.contains(expected.2), "{file}: {what}: {reason}");
    }
}

/// MSRs that could not be read, were read twice or on a CPU unnamed: most files have such.
fn is_about_reading_msrs(finding: &Finding) -> bool {
    finding.what == "msrs" || finding.reason.starts_with("reading it failed")
}

#[test]
fn every_dump_becomes_a_capture_that_reads_back() {
    let Some(dumps) = dumps() else { return };
    for (row, bytes) in dumps {
        let dump = read(bytes, "host", None).unwrap();
        let capture = write_capture(&dump);
        let back = read(capture.as_bytes(), "", None).unwrap();
        assert_eq!(write_capture(&back), capture, "{}", row["file"]);
        assert_eq!(back.cpus.len(), dump.cpus.len());
        for (read, written) in back.cpus.iter().zip(&dump.cpus) {
            assert_eq!(read.number, written.number);
            assert_eq!(read.msrs, written.msrs);
            assert!(read.leaves.iter().eq(written.leaves.iter().filter(|(_, regs)| !regs.is_zero())));
        }
    }
}

#[test]
fn the_samples_of_a_kvm_guest_read_as_they_are() {
    let Some(corpus) = corpus_files::corpus() else { return };
    for (file, cpus) in [("sample_cpuid-r_format.txt", 1), ("sample_cpuid-r_allcpus_format.txt", 2)] {
        let dump = read(&std::fs::read(corpus.join("reference").join(file)).unwrap(), "guest", None).unwrap();
        assert_eq!(dump.cpus.len(), cpus);
        for cpu in &dump.cpus {
            assert_eq!(cpu.get(0x4000_0001, 0).map(|regs| regs.eax), Some(0x0100_7efb));
            assert_eq!(cpu.get(0xd, 0xb), Some(Regs::new(0x10, 0, 1, 0)));
            assert_eq!(cpu.get(0x2000_0000, 0), None, "out of range and zero");
        }
        let named: Vec<_> = dump.findings.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(named, ["00000001.ecx[31]"]);
    }
}
