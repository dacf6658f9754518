//! InstLatx64's dumps of real CPUs, read by a reader of their own, so that a fault of `selfsame-formats` cannot hide one
//! of the table.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::OnceLock;

use selfsame_cpuid::{Leaves, Regs};

use crate::table_reference::{shared_path, skipped};

/// One dump: what each logical CPU of one machine said.
pub(crate) struct Dump {
    /// The file's name.
    pub(crate) name: String,
    /// The logical CPUs.
    pub(crate) cpus: Vec<Leaves>,
    /// Leaves that are not zero and that no policy holds.
    pub(crate) outside: Vec<u32>,
}

/// All dumps of the corpus; `None`, and a line on standard error that cannot be missed, where there are none.
pub(crate) fn dumps(test: &str) -> Option<Vec<Dump>> {
    let archive = shared_path(test, "corpus/instlatx64.tar.xz")?;
    // Tests of one run unpack together: one does it, the others wait.
    static ROOT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let Some(root) = ROOT.get_or_init(|| unpacked(&archive)) else {
        skipped(test, "`tar` cannot unpack .tar.xz here");
        return None;
    };
    let mut files = Vec::new();
    for directory in entries(&root.join("instlatx64")) {
        files.extend(entries(&directory));
    }
    files.sort();
    let dumps: Vec<Dump> = files.iter().map(|path| read(path)).collect();
    assert!(dumps.len() >= 100, "{} holds {} dumps", root.display(), dumps.len());
    Some(dumps)
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| entry.map_or_else(|error| panic!("{error}"), |entry| entry.path())).collect()
}

/// Unpacks the archive once for each of its sizes, and whole or not at all.
fn unpacked(archive: &Path) -> Option<PathBuf> {
    let size_bytes = fs::metadata(archive).map_or(0, |data| data.len());
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let root = target.join(format!("instlatx64-{size_bytes}"));
    if root.is_dir() {
        return Some(root);
    }
    let partial = target.join(format!("instlatx64-{size_bytes}-{}", process::id()));
    fs::create_dir_all(&partial).unwrap_or_else(|error| panic!("{}: {error}", partial.display()));
    let status = Command::new("tar").arg("-xJf").arg(archive).arg("-C").arg(&partial).status();
    let is_whole = status.is_ok_and(|status| status.success());
    // Another run of the tests may have been faster: its files are as good.
    if !is_whole || fs::rename(&partial, &root).is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    root.is_dir().then_some(root)
}

fn read(path: &Path) -> Dump {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let text = String::from_utf8_lossy(&bytes);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut cpus: Vec<Cpu> = Vec::new();
    let mut current = 0;
    for line in text.lines() {
        if let Some(section) = line.strip_prefix("------[") {
            current = number_after(section, "CPU #").unwrap_or(0);
        } else if let Some(row) = cpuid_row(line) {
            if row.leaf == 0 {
                cpus.push(Cpu::default());
                current = cpus.len() - 1;
            }
            if let Some(cpu) = cpus.get_mut(current) {
                cpu.rows.push(row);
            }
        } else if let (Some((index, value)), Some(cpu)) = (msr_row(line), cpus.get_mut(current)) {
            cpu.msrs.push((index, value));
        }
    }
    let mut outside = Vec::new();
    let cpus = cpus.iter().map(|cpu| cpu.leaves(&mut outside)).collect();
    Dump { name, cpus, outside }
}

/// What one logical CPU said, line by line.
#[derive(Default)]
struct Cpu {
    rows: Vec<Row>,
    msrs: Vec<(u32, u64)>,
}

struct Row {
    leaf: u32,
    subleaf: Option<u32>,
    regs: Regs,
}

impl Cpu {
    fn highest(&self, base: u32) -> u32 {
        self.rows.iter().find(|row| row.leaf == base).map_or(0, |row| row.regs.eax)
    }

    fn leaves(&self, outside: &mut Vec<u32>) -> Leaves {
        let mut leaves = Leaves::new();
        for (i, row) in self.rows.iter().enumerate() {
            let base = if row.leaf < 0x4000_0000 { 0 } else { row.leaf & 0xffff_0000 };
            // What lies beyond the highest leaf is no answer, and a hypervisor's leaves are not the CPU's.
            if base == 0x4000_0000 || row.leaf > self.highest(base).max(base) {
                continue;
            }
            let Some(subleaf) = row.subleaf.or_else(|| self.untagged_subleaf(i)) else { continue };
            if leaves.set(row.leaf, subleaf, row.regs).is_err() && !row.regs.is_zero() {
                outside.push(row.leaf);
            }
        }
        for &(index, value) in &self.msrs {
            // Most MSRs of a dump are the machine's and not the CPU's.
            let _ = leaves.set_msr(index, value);
        }
        leaves.fill_true_controls();
        leaves
    }

    /// The subleaf of a row without a tag, where it is beyond doubt: the first row of a leaf is subleaf 0, and the second
    /// of leaf 0xD is subleaf 1 unless it is the row of AVX state, for dumps leave out rows of zeros.
    fn untagged_subleaf(&self, at: usize) -> Option<u32> {
        let row = self.rows.get(at)?;
        let before = self.rows.iter().take(at).filter(|other| other.leaf == row.leaf).count();
        let is_avx = (row.regs.eax, row.regs.ebx) == (0x100, 0x240);
        match (before, row.leaf) {
            (0, _) => Some(0),
            (1, 0xd) if !is_avx => Some(1),
            _ => None,
        }
    }
}

/// The decimal number that follows `before`.
fn number_after(text: &str, before: &str) -> Option<usize> {
    let (_, rest) = text.split_once(before)?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..digits)?.parse().ok()
}

/// Reads `CPUID 0000000D: 000602E7-00002B00-00002B00-00000000 [SL 00]`, whose colon some dumps leave out.
fn cpuid_row(line: &str) -> Option<Row> {
    let rest = line.strip_prefix("CPUID ")?;
    let leaf = u32::from_str_radix(rest.get(..8)?, 16).ok()?;
    let rest = rest.get(8..)?.trim_start_matches([':', ' ', '\t']);
    let words = rest.get(..35)?.split(['-', ' ']).map(|word| u32::from_str_radix(word, 16).ok());
    let words: Vec<u32> = words.collect::<Option<_>>()?;
    let &[eax, ebx, ecx, edx] = words.as_slice() else { return None };
    let tag = rest.split_once("[SL ").and_then(|(_, tag)| tag.get(..2));
    let subleaf = tag.and_then(|tag| u32::from_str_radix(tag, 16).ok());
    Some(Row { leaf, subleaf, regs: Regs::new(eax, ebx, ecx, edx) })
}

/// Reads `MSR 0000010A: 0000-0000-2DA9-FDEB`; rows of MSRs that could not be read are none.
fn msr_row(line: &str) -> Option<(u32, u64)> {
    let (index, rest) = line.strip_prefix("MSR ")?.split_once(": ")?;
    let digits: String = rest.get(..19)?.chars().filter(|&c| c != '-').collect();
    Some((u32::from_str_radix(index, 16).ok()?, u64::from_str_radix(&digits, 16).ok()?))
}
