//! What is wrong with a dump though its text is sound.

use selfsame_cpuid::{Regs, Vendor, VendorName};

use crate::by_name::vendor_regs;
use crate::dump::{CpuDump, Dump};
use crate::findings::{Finding, Findings, leaf_place, msr_place, row_place};

/// Looks for answers that cannot be a CPU's own, names them, and takes rows out of range out of the dump.
///
/// A row is out of range if its leaf lies beyond the highest of its kind (leaves 0, 0x40000000, 0x80000000, 0x80860000
/// and 0xc0000000 tell them), or if the vendor or the hypervisor bit has no leaves of that kind. Such rows that are all
/// zero go without a word: absent means zero.
pub fn examine(dump: &mut Dump) -> Vec<Finding> {
    let mut findings = Findings::default();
    let is_hardware = dump.source.is_hardware();
    for cpu in &mut dump.cpus {
        let Some(leaf_0) = cpu.get(0, 0) else {
            findings.note(format!("cpu {}", cpu.number), None, "has no leaf 00000000: its ranges are not checked");
            continue;
        };
        examine_vendor(leaf_0, &mut findings);
        // Leaf 1 out of range is taken out below, and what it says with it.
        let is_guest = leaf_0.eax >= 1 && cpu.get(1, 0).is_some_and(|regs| regs.ecx >> 31 == 1);
        if is_guest && is_hardware {
            findings.note("00000001.ecx[31]", None, "hypervisor bit set: a guest's view, not the hardware's");
        }
        let bounds = Bounds::of(cpu, leaf_0, is_guest || !is_hardware);
        remove_out_of_range(cpu, &bounds, &mut findings);
        examine_xstate(cpu, &mut findings);
    }
    if !dump.source.is_by_name() {
        examine_arch_capabilities(&dump.cpus, &mut findings);
    }
    findings.into_vec()
}

/// Vendors that a dump may name: those of [`Vendor`], then those that nobody levels any more.
const KNOWN_VENDORS: [&[u8; 12]; 17] = [
    b"GenuineIntel",
    b"AuthenticAMD",
    b"CentaurHauls",
    b"  Shanghai  ",
    b"HygonGenuine",
    b"GenuineTMx86",
    b"TransmetaCPU",
    b"AMDisbetter!",
    b"CyrixInstead",
    b"Geode by NSC",
    b"NexGenDriven",
    b"RiseRiseRise",
    b"SiS SiS SiS ",
    b"UMC UMC UMC ",
    b"VIA VIA VIA ",
    b"Vortex86 SoC",
    b"Genuine  RDC",
];

/// Windows on ARM says this to x86 programs.
const EMULATOR: &[u8; 12] = b"Virtual CPU ";

/// What is odd in the vendor of a CPU of which a file names features, as [`examine`] finds it in leaf 0.
pub(crate) fn examine_offered_vendor(vendor: Option<[u8; 12]>, findings: &mut Findings) {
    examine_vendor(vendor.map(vendor_regs).unwrap_or_default(), findings);
}

fn examine_vendor(leaf_0: Regs, findings: &mut Findings) {
    let name = VendorName::of(leaf_0);
    let bytes = vendor_bytes(leaf_0);
    if bytes == [0; 12] {
        findings.note("vendor", None, "not said: the cpu counts as any vendor's");
        return;
    }
    if &bytes == EMULATOR {
        findings.note(
            "vendor",
            None,
            "`Virtual CPU `: an emulator's answers on another architecture, not an x86 cpu's",
        );
        return;
    }
    if KNOWN_VENDORS.contains(&&bytes) {
        return;
    }
    let distance = |known: &[u8; 12]| known.iter().zip(bytes).filter(|(a, b)| **a != *b).count();
    let near = KNOWN_VENDORS.iter().map(|known| (distance(known), known)).min();
    let reason = match near {
        Some((count @ 1..=2, known)) => {
            let letters = if count == 1 { "one letter" } else { "two letters" };
            format!("`{name}` is {letters} off `{}`; kept as it is", known.escape_ascii())
        }
        _ => format!("`{name}` is not known; kept as it is"),
    };
    findings.note("vendor", None, reason);
}

fn vendor_bytes(leaf_0: Regs) -> [u8; 12] {
    let mut bytes = [0; 12];
    for (part, register) in bytes.chunks_exact_mut(4).zip([leaf_0.ebx, leaf_0.edx, leaf_0.ecx]) {
        part.copy_from_slice(&register.to_le_bytes());
    }
    bytes
}

/// The highest leaf of each kind; `None` where the CPU has none of the kind.
struct Bounds {
    basic: u32,
    hypervisor: Option<u32>,
    hypervisor_second: Option<u32>,
    extended: Option<u32>,
    transmeta: Option<u32>,
    centaur: Option<u32>,
    /// What leaves out of range answer on Intel's CPUs.
    highest_basic: Option<Regs>,
}

impl Bounds {
    fn of(cpu: &CpuDump, leaf_0: Regs, has_hypervisor: bool) -> Self {
        let vendor = Vendor::of(leaf_0);
        let max = |base: u32| cpu.get(base, 0).map(|regs| regs.eax).filter(|max| max >> 16 == base >> 16);
        // KVM of old gave 0 in place of 0x40000001.
        let hypervisor = max(0x4000_0000).unwrap_or(0x4000_0001);
        // Where the file has no leaf 0x80000000, nothing is known against its other extended leaves.
        let extended = if cpu.get(0x8000_0000, 0).is_some() { max(0x8000_0000) } else { Some(0x8000_ffff) };
        Self {
            basic: leaf_0.eax,
            hypervisor: has_hypervisor.then_some(hypervisor),
            hypervisor_second: max(0x4000_0100).filter(|_| has_hypervisor),
            extended,
            transmeta: max(0x8086_0000).filter(|_| vendor == Vendor::Transmeta),
            centaur: max(0xc000_0000).filter(|_| matches!(vendor, Vendor::Centaur | Vendor::Shanghai)),
            highest_basic: cpu.get(leaf_0.eax, 0),
        }
    }

    /// The highest leaf of the kind that `leaf` is of.
    fn highest(&self, leaf: u32) -> Option<u32> {
        match leaf >> 16 {
            0 => Some(self.basic),
            0x4000 if leaf & 0xffff >= 0x100 => self.hypervisor_second,
            0x4000 => self.hypervisor,
            0x8000 => self.extended,
            0x8086 => self.transmeta,
            0xc000 => self.centaur,
            _ => None,
        }
    }
}

fn remove_out_of_range(cpu: &mut CpuDump, bounds: &Bounds, findings: &mut Findings) {
    cpu.leaves.retain(|&(leaf, _), regs| {
        let highest = bounds.highest(leaf);
        let is_kept = highest.is_some_and(|highest| leaf <= highest);
        if !is_kept && !regs.is_zero() {
            let reason = if bounds.highest_basic == Some(*regs) {
                format!("out of range: repeats the highest basic leaf, {:08x}; left out", bounds.basic)
            } else if let Some(highest) = highest {
                format!("out of range: the highest leaf of its kind is {highest:08x}; left out")
            } else {
                "out of range: this cpu has no leaves of its kind; left out".into()
            };
            findings.note(leaf_place(leaf), None, reason);
        }
        is_kept
    });
}

/// Names the components of XCR0 without size and offset: no area can be laid out for them from this dump.
fn examine_xstate(cpu: &CpuDump, findings: &mut Findings) {
    let Some(first) = cpu.get(0xd, 0) else { return };
    let xcr0 = u64::from(first.edx) << 32 | u64::from(first.eax);
    for component in (2..63).filter(|bit| xcr0 >> bit & 1 == 1) {
        let reason = match cpu.get(0xd, component) {
            Some(regs) if !regs.is_zero() => continue,
            Some(_) => format!("xcr0 has component {component}, and its row is all zero"),
            None => format!("xcr0 has component {component}, and its row is missing"),
        };
        findings.note(row_place(0xd, component), None, reason);
    }
}

/// IA32_ARCH_CAPABILITIES: without its value, nothing is known of the faults that the CPU does not have.
const ARCH_CAPABILITIES: u32 = 0x10a;

fn examine_arch_capabilities(cpus: &[CpuDump], findings: &mut Findings) {
    let is_there = cpus.iter().any(|cpu| cpu.get(7, 0).is_some_and(|regs| regs.edx >> 29 & 1 == 1));
    let is_read = cpus.iter().any(|cpu| cpu.msr(ARCH_CAPABILITIES).is_some());
    if is_there && !is_read {
        let reason = "00000007.0.edx[29] says that the cpu has it, and the file has no value of it";
        findings.note(msr_place(ARCH_CAPABILITIES), None, reason);
    }
}
