//! The CPU that is meant where none is named.

use selfsame_cpuid::{Leaves, OutsideModel, Regs};

/// Its name.
pub(crate) const NAME: &str = "a CPU with everything";

/// Every feature that a switch has something to do for, as far as Intel's CPUs have them: AMX with XFD, shadow stacks, PASID,
/// protection keys of both kinds, RDPID, cache allocation, faulting. Sizes are those of Sapphire Rapids.
pub(crate) fn leaves() -> Result<Leaves, OutsideModel> {
    let mut leaves = Leaves::new();
    let (sep, xsave, fsgsbase) = (1 << 11, 1 << 26 | 1 << 27, 1);
    let (cmt, rdt_a) = (1 << 12, 1 << 15);
    let (pku, shstk, rdpid, pks) = (1 << 3, 1 << 7, 1 << 22, 1 << 31);
    let (amx_tile, spec_ctrl) = (1 << 24, 1 << 26);
    let rdtscp = 1 << 27;
    leaves.set(0, 0, Regs::new(0x20, 0x756e_6547, 0x6c65_746e, 0x4965_6e69))?;
    leaves.set(1, 0, Regs::new(0x000c_06f2, 0, xsave, sep))?;
    leaves.set(7, 0, Regs::new(2, fsgsbase | cmt | rdt_a, pku | shstk | rdpid | pks, amx_tile | spec_ctrl))?;
    leaves.set(0x8000_0000, 0, Regs::new(0x8000_0008, 0, 0, 0))?;
    leaves.set(0x8000_0001, 0, Regs::new(0, 0, 0, rdtscp))?;
    for (subleaf, regs) in [
        (0, [0x6_02E7, 0x2B00, 0x2B00, 0]),
        (1, [0x1F, 0x2A00, 0x1C00, 0]),
        (2, [256, 0x240, 0, 0]),
        (5, [64, 0x440, 0, 0]),
        (6, [512, 0x480, 0, 0]),
        (7, [1024, 0x680, 0, 0]),
        (9, [8, 0xA80, 0, 0]),
        (10, [8, 0, 1, 0]),
        (11, [16, 0, 1, 0]),
        (12, [24, 0, 1, 0]),
        (17, [64, 0xAC0, 2, 0]),
        (18, [8192, 0xB00, 6, 0]),
    ] {
        let [eax, ebx, ecx, edx] = regs;
        leaves.set(0xD, subleaf, Regs::new(eax, ebx, ecx, edx))?;
    }
    leaves.set_msr(0xCE, 1 << 31)?;
    Ok(leaves)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_has_all_of_it() {
        assert!(leaves().is_ok());
    }
}
