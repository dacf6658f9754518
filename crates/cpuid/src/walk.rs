//! Enumeration: every (leaf, subleaf) that a CPU answers, each leaf by its own rule, and the MSRs that go with them.
//!
//! The closure may be the instruction, another hypervisor's answers or a dump; nothing here executes CPUID, so the command
//! and a bare-metal payload capture with the same code. What the closure says is not trusted: every loop has a bound.

use crate::regs::Regs;
use crate::vendor::Vendor;

/// The highest basic leaf that is asked for. The highest that any manual defines is 0x29.
const LAST_BASIC: u32 = 0x3f;
/// How many leaves of the other ranges are asked for at most: a range is 0x100 wide.
const RANGE_LEN: u32 = 0x100;
/// How many caches are asked for: leaf 4 of the largest known CPU has 5.
const MAX_CACHES: u32 = 16;
/// How many topology levels are asked for, the terminator included: the manuals define six.
const MAX_LEVELS: u32 = 8;
/// How many subleaves are asked for where a leaf counts them in EAX, or goes on until an invalid type.
const MAX_SUBLEAVES: u32 = 64;

/// Asks a CPU for every leaf and subleaf that it has, and yields those that are not zero, ascending within each range.
///
/// `cpuid` answers EAX and ECX; `row` takes the leaf, its subleaf where ECX selects one, and the registers. Leaves that
/// [`Leaves`](crate::Leaves) cannot hold are yielded too: a capture keeps what the CPU says.
///
/// No leaf above the maximum of its range is asked for: Intel CPUs answer the highest basic leaf there (SDM vol. 2A, CPUID,
/// INPUT EAX).
///
/// ```
/// use selfsame_cpuid::{Regs, walk};
///
/// // A CPU with leaves 0 and 7, the latter with subleaves 0 and 1.
/// let cpu = |leaf, subleaf| match (leaf, subleaf) {
///     (0, _) => Regs::new(7, 0x6874_7541, 0x444d_4163, 0x6974_6e65),
///     (7, 0) => Regs::new(1, 0x219c_07a9, 0, 0),
///     (7, 1) => Regs::new(0x10, 0, 0, 0),
///     _ => Regs::ZERO,
/// };
/// let mut places = Vec::new();
/// walk(cpu, |leaf, subleaf, _| places.push((leaf, subleaf)));
/// assert_eq!(places, [(0, None), (7, Some(0)), (7, Some(1))]);
/// ```
pub fn walk(cpuid: impl FnMut(u32, u32) -> Regs, row: impl FnMut(u32, Option<u32>, Regs)) {
    let mut walk = Walk { cpuid, row };
    let leaf_0 = walk.plain(0);
    let vendor = Vendor::of(leaf_0);
    let mut seen = Seen::default();
    for leaf in 1..=leaf_0.eax.min(LAST_BASIC) {
        walk.basic(leaf, &mut seen);
    }
    if seen.has_hypervisor {
        walk.hypervisor();
    }
    walk.extended();
    match vendor {
        Vendor::Transmeta => walk.range(0x8086_0000),
        Vendor::Centaur | Vendor::Shanghai => walk.range(0xc000_0000),
        _ => {}
    }
}

/// What earlier leaves say about later ones.
#[derive(Default)]
struct Seen {
    /// Leaf 1 ECX bit 31.
    has_hypervisor: bool,
    /// Leaf 7 subleaf 0 EBX bit 2.
    has_sgx: bool,
}

struct Walk<C, R> {
    cpuid: C,
    row: R,
}

impl<C: FnMut(u32, u32) -> Regs, R: FnMut(u32, Option<u32>, Regs)> Walk<C, R> {
    /// A leaf without subleaves.
    fn plain(&mut self, leaf: u32) -> Regs {
        let regs = (self.cpuid)(leaf, 0);
        self.emit(leaf, None, regs);
        regs
    }

    /// One subleaf.
    fn subleaf(&mut self, leaf: u32, subleaf: u32) -> Regs {
        let regs = (self.cpuid)(leaf, subleaf);
        self.emit(leaf, Some(subleaf), regs);
        regs
    }

    fn emit(&mut self, leaf: u32, subleaf: Option<u32>, regs: Regs) {
        if !regs.is_zero() {
            (self.row)(leaf, subleaf, regs);
        }
    }

    /// Subleaf 0, whose EAX is the highest subleaf.
    fn counted(&mut self, leaf: u32) -> Regs {
        let first = self.subleaf(leaf, 0);
        for subleaf in 1..=first.eax.min(MAX_SUBLEAVES - 1) {
            self.subleaf(leaf, subleaf);
        }
        first
    }

    /// Subleaves from `first` on, until one that `is_last`; that one is yielded too.
    fn until(&mut self, leaf: u32, first: u32, bound: u32, is_last: impl Fn(Regs) -> bool) {
        for subleaf in first..bound {
            if is_last(self.subleaf(leaf, subleaf)) {
                return;
            }
        }
    }

    /// The subleaves whose bits are set in `bits`, from `first` on.
    fn chosen(&mut self, leaf: u32, first: u32, bits: u64) {
        for subleaf in (first..u64::BITS).filter(|bit| bits >> bit & 1 == 1) {
            self.subleaf(leaf, subleaf);
        }
    }

    /// Whether and how ECX selects subleaves: SDM vol. 2A, CPUID; of leaf 0x12, vol. 3D, 36.7.2.
    fn basic(&mut self, leaf: u32, seen: &mut Seen) {
        match leaf {
            0x1 => seen.has_hypervisor = self.plain(leaf).ecx >> 31 == 1,
            // Caches until type EAX[4:0] is 0.
            0x4 => self.until(leaf, 0, MAX_CACHES, |regs| regs.eax & 0x1f == 0),
            0x7 => seen.has_sgx = self.counted(leaf).ebx >> 2 & 1 == 1,
            0xb | 0x1f => self.levels(leaf),
            0xd => {
                let user = self.subleaf(leaf, 0);
                let supervisor = self.subleaf(leaf, 1);
                let low = u64::from(user.eax | supervisor.ecx);
                let high = u64::from(user.edx | supervisor.edx);
                // Bit 63 is no component.
                self.chosen(leaf, 2, (high << 32 | low) & u64::MAX >> 1);
            }
            // Resource types: monitoring has the level-3 cache, type 1, alone.
            0xf | 0x27 => {
                self.subleaf(leaf, 0);
                self.subleaf(leaf, 1);
            }
            // Resource types that EBX of subleaf 0 lists; its bit 0 is reserved.
            0x10 | 0x28 => {
                let types = self.subleaf(leaf, 0).ebx;
                self.chosen(leaf, 1, types.into());
            }
            // Enclave page cache sections from subleaf 2 on, until type EAX[3:0] is 0. Without SGX the leaf is reserved.
            0x12 if seen.has_sgx => {
                self.subleaf(leaf, 0);
                self.subleaf(leaf, 1);
                self.until(leaf, 2, MAX_SUBLEAVES, |regs| regs.eax & 0xf == 0);
            }
            0x12 => {}
            0x14 | 0x17 | 0x18 | 0x1d | 0x1e | 0x20 | 0x24 | 0x29 => {
                self.counted(leaf);
            }
            // PCONFIG targets until type EAX[11:0] is 0.
            0x1b => self.until(leaf, 0, MAX_SUBLEAVES, |regs| regs.eax & 0xfff == 0),
            // EAX of subleaf 0 lists the subleaves.
            0x23 => {
                let subleaves = self.subleaf(leaf, 0).eax;
                self.chosen(leaf, 1, subleaves.into());
            }
            _ => {
                self.plain(leaf);
            }
        }
    }

    /// Topology levels until type ECX[15:8] is 0. The terminator carries the APIC id too, so it is yielded.
    fn levels(&mut self, leaf: u32) {
        self.until(leaf, 0, MAX_LEVELS, |regs| regs.ecx >> 8 & 0xff == 0);
    }

    /// The first range, and Xen's own at 0x40000100 where another hypervisor's signature comes first.
    fn hypervisor(&mut self) {
        let first = (self.cpuid)(0x4000_0000, 0);
        self.emit(0x4000_0000, None, first);
        // Old KVM answers 0 and means 0x40000001 (Linux, Documentation/virt/kvm/x86/cpuid.rst).
        let last = if first.eax == 0 && first.ebx != 0 { 0x4000_0001 } else { first.eax };
        self.rest_of_range(0x4000_0000, last);

        let second = (self.cpuid)(0x4000_0100, 0);
        let signature = |regs: Regs| [regs.ebx, regs.ecx, regs.edx];
        let is_range = second.eax.checked_sub(0x4000_0100).is_some_and(|len| len < RANGE_LEN);
        if is_range && signature(second) != signature(first) && signature(second) != [0; 3] {
            self.emit(0x4000_0100, None, second);
            self.rest_of_range(0x4000_0100, second.eax);
        }
    }

    /// A range of leaves without subleaves, whose first has the highest in EAX. Without the range, nothing is yielded.
    fn range(&mut self, first: u32) {
        let regs = (self.cpuid)(first, 0);
        if regs.eax >= first {
            self.emit(first, None, regs);
            self.rest_of_range(first, regs.eax);
        }
    }

    fn rest_of_range(&mut self, first: u32, last: u32) {
        for leaf in first + 1..=last.min(first + (RANGE_LEN - 1)) {
            self.plain(leaf);
        }
    }

    /// APM vol. 3, appendix E.4.
    fn extended(&mut self) {
        let first = (self.cpuid)(0x8000_0000, 0);
        if first.eax < 0x8000_0000 {
            return;
        }
        self.emit(0x8000_0000, None, first);
        for leaf in 0x8000_0001..=first.eax.min(0x8000_0000 + (RANGE_LEN - 1)) {
            match leaf {
                // Caches until type EAX[4:0] is 0.
                0x8000_001d => self.until(leaf, 0, MAX_CACHES, |regs| regs.eax & 0x1f == 0),
                // EBX of subleaf 0 lists the subleaves.
                0x8000_0020 => {
                    let types = self.subleaf(leaf, 0).ebx;
                    self.chosen(leaf, 1, types.into());
                }
                0x8000_0026 => self.levels(leaf),
                _ => {
                    self.plain(leaf);
                }
            }
        }
    }
}

/// The MSRs that a capture reads, ascending: those of the model, and those that decide what a guest can be given or tell which
/// levelling hardware there is. Reading them changes nothing. Many fault on any one CPU, which a capture writes down too.
///
/// | MSR | why |
/// |---|---|
/// | 0x3a | firmware may lock VMX and SGX off, whatever CPUID says (SDM vol. 3C, 24.7) |
/// | 0x8b | the microcode revision: bits come and go with it (SDM vol. 3A, 10.11.7.1; APM vol. 2, 16.1) |
/// | 0xce | bit 31: CPUID faulting (SDM vol. 4, table 2-2) |
/// | 0xcf | core capabilities: split lock detection (SDM vol. 4, table 2-2) |
/// | 0x10a | architectural capabilities: the `*_NO` bits (SDM vol. 4, table 2-2) |
/// | 0x10f | TSX_FORCE_ABORT: RTM may be there and always abort (Intel, TSX memory ordering issue, 604224) |
/// | 0x122 | TSX_CTRL: hides RTM and HLE from CPUID (SDM vol. 4, table 2-2) |
/// | 0x123 | MCU_OPT_CTRL: RTM_ALLOW, and RDRAND's mitigation (SDM vol. 4, table 2-2) |
/// | 0x130–0x134 | masks of Nehalem, Westmere and Sandy Bridge ([`MASKING_MSRS`](crate::MASKING_MSRS)) |
/// | 0x140 | bit 0: whether CPUID faulting is on (SDM vol. 4, table 2-2) |
/// | 0x1a0 | MISC_ENABLE: firmware may hide NX, MONITOR and leaves above 3 from CPUID (SDM vol. 4, table 2-2) |
/// | 0x345 | the PMU's capabilities (SDM vol. 3B, 20.8) |
/// | 0x478 | the mask of Penryn and Dunnington ([`MASKING_MSRS`](crate::MASKING_MSRS)) |
/// | 0x480–0x493 | what VMX can do (SDM vol. 3D, appendix A) |
/// | 0xc0010010 | SYSCFG: whether firmware enabled memory encryption (APM vol. 2, 7.10.1) |
/// | 0xc0010015 | HWCR: bit 35, whether CPUID faulting is on (APM vol. 2, 3.2.10) |
/// | 0xc0010114 | VM_CR: firmware may lock SVM off (APM vol. 2, 15.30.1) |
/// | 0xc0010140, 0xc0010141 | errata that the OS need not work around (APM vol. 2, appendix A, OSVW) |
/// | 0xc0011002–0xc0011005 | AMD's overrides ([`MASKING_MSRS`](crate::MASKING_MSRS)) |
/// | 0xc0011029 | DE_CFG: whether LFENCE serialises where CPUID cannot say it (AMD, Software techniques for managing speculation) |
pub static CAPTURED_MSRS: [u32; 47] = [
    0x3a,
    0x8b,
    0xce,
    0xcf,
    0x10a,
    0x10f,
    0x122,
    0x123,
    0x130,
    0x131,
    0x132,
    0x133,
    0x134,
    0x140,
    0x1a0,
    0x345,
    0x478,
    0x480,
    0x481,
    0x482,
    0x483,
    0x484,
    0x485,
    0x486,
    0x487,
    0x488,
    0x489,
    0x48a,
    0x48b,
    0x48c,
    0x48d,
    0x48e,
    0x48f,
    0x490,
    0x491,
    0x492,
    0x493,
    0xc001_0010,
    0xc001_0015,
    0xc001_0114,
    0xc001_0140,
    0xc001_0141,
    0xc001_1002,
    0xc001_1003,
    0xc001_1004,
    0xc001_1005,
    0xc001_1029,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capabilities::{FaultingControl, MASKING_MSRS};
    use crate::leaves::Leaves;
    use crate::model::{self, MSRS};
    use std::vec::Vec;

    type Row = (u32, Option<u32>, Regs);

    const INTEL: Regs = Regs::new(0x29, 0x756e_6547, 0x6c65_746e, 0x4965_6e69);
    const CENTAUR: Regs = Regs::new(0x29, 0x746e_6543, 0x736c_7561, 0x4872_7561);

    fn rows(cpuid: impl FnMut(u32, u32) -> Regs) -> Vec<Row> {
        let mut rows = Vec::new();
        walk(cpuid, |leaf, subleaf, regs| rows.push((leaf, subleaf, regs)));
        rows
    }

    fn subleaves(rows: &[Row], leaf: u32) -> Vec<u32> {
        rows.iter().filter(|row| row.0 == leaf).map(|row| row.1.unwrap()).collect()
    }

    /// A CPU that has `first` in leaf 0 and `answer` elsewhere, where it is `Some`.
    fn cpu(first: Regs, answer: impl Fn(u32, u32) -> Option<Regs>) -> impl FnMut(u32, u32) -> Regs {
        move |leaf, subleaf| if leaf == 0 { first } else { answer(leaf, subleaf).unwrap_or_default() }
    }

    #[test]
    fn a_cpu_that_answers_ones_everywhere_is_walked_within_the_bounds() {
        let rows = rows(|_, _| Regs::new(u32::MAX, u32::MAX, u32::MAX, u32::MAX));
        assert!(rows.len() < 2000, "{}", rows.len());
    }

    #[test]
    fn leaf_zero_alone_bounds_the_basic_range() {
        let last = Regs::new(0x16, 1, 2, 3);
        // Intel: everything above a maximum is the highest basic leaf.
        let rows = rows(cpu(Regs { eax: 0x16, ..INTEL }, |leaf, _| (leaf >= 0x16).then_some(last)));
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1], (0x16, None, last));
    }

    #[test]
    fn caches_end_at_type_zero_and_at_sixteen() {
        let three = rows(cpu(INTEL, |leaf, n| (leaf == 4 && n < 3).then_some(Regs::new(0x21, 1, 1, 0))));
        assert_eq!(subleaves(&three, 4), [0, 1, 2]);
        let endless = rows(cpu(INTEL, |leaf, _| (leaf == 4).then_some(Regs::new(0x21, 1, 1, 0))));
        assert_eq!(subleaves(&endless, 4).len(), 16);
    }

    #[test]
    fn topology_levels_include_their_terminator() {
        let levels = |leaf, n: u32| {
            let level = if n < 2 { (n + 1) << 8 } else { 0 };
            matches!(leaf, 0xb | 0x1f | 0x8000_0026).then_some(Regs::new(0, 0, level | n, 9))
        };
        let rows = rows(cpu(INTEL, |leaf, n| match leaf {
            0x8000_0000 => Some(Regs::new(0x8000_0026, 0, 0, 0)),
            _ => levels(leaf, n),
        }));
        for leaf in [0xb, 0x1f, 0x8000_0026] {
            assert_eq!(subleaves(&rows, leaf), [0, 1, 2], "{leaf:#x}");
        }
    }

    #[test]
    fn xsave_rows_are_those_of_xcr0_and_xss() {
        let rows = rows(cpu(INTEL, |leaf, n| match (leaf, n) {
            (0xd, 0) => Some(Regs::new(0x207, 0x240, 0x988, 0xc000_0000)),
            (0xd, 1) => Some(Regs::new(0xf, 0x240, 0x1800, 0)),
            (0xd, _) => Some(Regs::new(8, 0, 1, 0)),
            _ => None,
        }));
        assert_eq!(subleaves(&rows, 0xd), [0, 1, 2, 9, 11, 12, 62], "bit 63 is no component");
    }

    #[test]
    fn bitmaps_choose_their_subleaves() {
        let rows = rows(cpu(INTEL, |leaf, n| match leaf {
            0x10 | 0x28 if n == 0 => Some(Regs::new(0, 0b10_1110, 0, 0)),
            0x23 if n == 0 => Some(Regs::new(0b10_1011, 0, 0, 0)),
            0x8000_0000 => Some(Regs::new(0x8000_0021, 0, 0, 0)),
            0x8000_0020 if n == 0 => Some(Regs::new(0, 0b1_1110, 0, 0)),
            0x10 | 0x28 | 0x23 | 0x8000_0020 => Some(Regs::new(n, 0, 0, 0)),
            _ => None,
        }));
        assert_eq!(subleaves(&rows, 0x10), [0, 1, 2, 3, 5]);
        assert_eq!(subleaves(&rows, 0x28), [0, 1, 2, 3, 5]);
        assert_eq!(subleaves(&rows, 0x23), [0, 1, 3, 5]);
        assert_eq!(subleaves(&rows, 0x8000_0020), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn enclave_sections_are_asked_for_only_with_sgx() {
        let with = |sgx: u32| {
            rows(cpu(INTEL, move |leaf, n| match (leaf, n) {
                (7, 0) => Some(Regs::new(0, sgx << 2, 0, 1)),
                (0x12, 0..=4) => Some(Regs::new(1, 1, 1, 1)),
                _ => None,
            }))
        };
        assert_eq!(subleaves(&with(1), 0x12), [0, 1, 2, 3, 4]);
        assert_eq!(subleaves(&with(0), 0x12), [0; 0]);
    }

    #[test]
    fn hypervisor_leaves_need_the_hypervisor_bit() {
        let answer = |bit: u32| {
            rows(cpu(INTEL, move |leaf, _| match leaf {
                1 => Some(Regs::new(1, 0, bit << 31, 0)),
                0x4000_0000 => Some(Regs::new(0x4000_0001, 0x4b4d_564b, 0x564b_4d56, 0x4d)),
                0x4000_0001 => Some(Regs::new(0x0100_7efb, 0, 0, 0)),
                _ => None,
            }))
        };
        assert_eq!(answer(0).len(), 2);
        assert_eq!(answer(1).len(), 4);
    }

    #[test]
    fn a_second_hypervisor_range_needs_a_signature_of_its_own() {
        let answer = |second: Regs| {
            let rows = rows(cpu(INTEL, move |leaf, _| match leaf {
                1 => Some(Regs::new(1, 0, 1 << 31, 0)),
                0x4000_0000 => Some(Regs::new(0x4000_0006, 7, 8, 9)),
                0x4000_0100 => Some(second),
                0x4000_0101..=0x4000_0200 => Some(Regs::new(4, 0, 0, 0)),
                _ => None,
            }));
            rows.iter().filter(|row| row.0 >> 8 == 0x40_0001).count()
        };
        assert_eq!(answer(Regs::new(0x4000_0105, 1, 2, 3)), 6);
        assert_eq!(answer(Regs::new(0x4000_0105, 7, 8, 9)), 0, "the first range again");
        assert_eq!(answer(Regs::new(0x4000_0105, 0, 0, 0)), 0, "no signature");
        assert_eq!(answer(Regs::new(0x16, 1, 2, 3)), 0, "Intel's answer above the maximum");
        assert_eq!(answer(Regs::new(0x4000_0200, 1, 2, 3)), 0, "beyond its range");
    }

    #[test]
    fn an_extended_maximum_without_the_prefix_is_no_extended_range() {
        let rows = rows(cpu(INTEL, |leaf, _| (leaf >= 0x8000_0000).then_some(Regs::new(0x0001_0021, 1, 1, 1))));
        assert_eq!(rows.len(), 1);
    }

    #[test]
    fn vendor_ranges_are_asked_for_only_on_their_vendors_cpus() {
        let answer = |leaf, _| (leaf >= 0xc000_0000).then_some(Regs::new(0xc000_0004, 0, 0, 1));
        assert_eq!(rows(cpu(INTEL, answer)).len(), 1);
        assert_eq!(rows(cpu(CENTAUR, answer)).len(), 6);
    }

    #[test]
    fn every_leaf_is_yielded_in_the_form_in_which_the_model_holds_it() {
        let rows = rows(|leaf, n| match leaf {
            0 => Regs { eax: 0x3f, ..INTEL },
            7 if n == 0 => Regs::new(0, 1 << 2, 0, 0),
            1 => Regs::new(0, 0, 1 << 31, 0),
            0x4000_0000 => Regs::new(0x4000_00ff, 0, 0, 0),
            0x8000_0000 => Regs::new(0x8000_00ff, 0, 0, 0),
            _ => Regs::new(1, 1, 1, 1),
        });
        for (leaf, subleaf, _) in rows {
            assert!(model::indexing(leaf).is_none_or(|is_indexed| is_indexed == subleaf.is_some()), "{leaf:#x}");
        }
    }

    #[test]
    fn a_walk_over_held_leaves_finds_every_row_of_them() {
        let mut leaves = Leaves::new();
        leaves.set(0, 0, INTEL).unwrap();
        leaves.set(7, 0, Regs::new(2, 1, 1, 1)).unwrap();
        leaves.set(7, 2, Regs::new(0, 0, 0, 1)).unwrap();
        leaves.set(0x8000_0000, 0, Regs::new(0x8000_0008, 0, 0, 0)).unwrap();
        leaves.set(0x8000_0008, 0, Regs::new(0x3030, 0, 0, 0)).unwrap();
        assert!(rows(|leaf, subleaf| leaves.get(leaf, subleaf)).into_iter().eq(leaves.rows()));
    }

    #[test]
    fn captured_msrs_ascend_and_hold_those_of_the_model_and_of_levelling() {
        assert!(CAPTURED_MSRS.is_sorted_by(|a, b| a < b));
        let is_captured = |index: u32| CAPTURED_MSRS.contains(&index);
        assert!(MSRS.iter().all(|&index| is_captured(index)));
        assert!(MASKING_MSRS.iter().all(|row| is_captured(row.index)));
        assert!(is_captured(FaultingControl::INTEL.index) && is_captured(FaultingControl::AMD.index));
    }
}
