//! What machines and guests a proof goes over.

use selfsame_cpuid::{Leaves, OutsideModel, Regs};
use selfsame_xstate::{Component, ComponentSet};

use crate::{Hardware, Virtualisation};

/// Which instructions save and restore extended state.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SaveInstructions {
    /// XSAVES and XRSTORS.
    Xsaves,
    /// XSAVE and XRSTOR.
    Xsave,
    /// FXSAVE and FXRSTOR: there is no XCR0.
    Fxsave,
}

/// What decides what CPUID shows a guest whose CPUID does not exit.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Levelling {
    /// CPUID faulting.
    Faulting,
    /// Masking MSRs: AND on Intel CPUs, override on AMD ones.
    Masks,
    /// Nothing.
    Neither,
}

/// A machine, by the choices that a switch depends on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct MachineShape {
    /// Intel's CPUs or AMD's.
    pub virtualisation: Virtualisation,
    /// What saves and restores.
    pub save: SaveInstructions,
    /// What levels.
    pub levelling: Levelling,
    /// Whether there are AMX, and XFD for XTILEDATA and for component 19.
    ///
    /// No CPU has XFD for component 19; it is made up so that XFD has more than one bit.
    pub has_amx: bool,
    /// Whether there are shadow stacks, and the hypervisor uses them.
    pub has_cet: bool,
    /// Whether there are protection keys for user pages.
    pub has_pku: bool,
}

impl MachineShape {
    /// What its CPUs are.
    ///
    /// AMD's have RSTR_FP_ERR_PTRS exactly if they have XSAVES, so that every older one shows the leak of x87 pointers.
    #[must_use]
    pub fn hardware(&self) -> Hardware {
        Hardware::of(&self.leaves())
    }

    /// What its CPUs answer to CPUID.
    #[must_use]
    pub fn leaves(&self) -> Leaves {
        let mut leaves = Leaves::new();
        // Every leaf below is of the model, or tests of all shapes would fail.
        let _ = self.fill(&mut leaves);
        leaves
    }

    /// The user components of its CPUs.
    #[must_use]
    pub fn user(&self) -> ComponentSet {
        let mut user = ComponentSet::LEGACY;
        if self.save == SaveInstructions::Fxsave {
            return user;
        }
        user.insert(Component::AVX);
        if self.has_pku {
            user.insert(Component::PKRU);
        }
        if self.has_amx {
            user |= ComponentSet::AMX.with(Component::APX);
        }
        user
    }

    fn fill(&self, leaves: &mut Leaves) -> Result<(), OutsideModel> {
        let is_amd = self.virtualisation == Virtualisation::Svm;
        let vendor = if is_amd {
            Regs::new(0x20, 0x6874_7541, 0x444d_4163, 0x6974_6e65)
        } else {
            Regs::new(0x20, 0x756e_6547, 0x6c65_746e, 0x4965_6e69)
        };
        leaves.set(0, 0, vendor)?;
        let has_xsave = self.save != SaveInstructions::Fxsave;
        let has_xsaves = self.save == SaveInstructions::Xsaves;
        // Zen 4, or family 0x11, which has no overrides; Sandy Bridge-EP, or Sapphire Rapids, which has no masks.
        let signature = match (is_amd, self.levelling) {
            (true, Levelling::Neither) => 0x0020_0f31,
            (true, _) => 0x00a1_0f11,
            (false, Levelling::Masks) => 0x0002_06d7,
            (false, _) => 0x0008_06f8,
        };
        leaves.set(
            1,
            0,
            Regs::new(signature, 0, bit(21, true) | bit(26, has_xsave) | bit(28, has_xsave), 0x1780_0a11),
        )?;
        let feature_ecx = bit(3, self.has_pku) | bit(7, self.has_cet) | bit(22, true) | bit(31, !is_amd);
        let feature_ebx = bit(0, true) | bit(15, !is_amd);
        let feature_edx = bit(24, self.has_amx) | bit(26, !is_amd);
        leaves.set(7, 0, Regs::new(0, feature_ebx, feature_ecx, feature_edx))?;
        leaves.set(0x8000_0000, 0, Regs::new(0x8000_0021, 0, 0, 0))?;
        leaves.set(
            0x8000_0001,
            0,
            Regs::new(0, 0, bit(0, true) | bit(1, is_amd) | bit(26, is_amd), bit(27, true) | bit(29, true)),
        )?;
        let amd_speculation = bit(12, is_amd) | bit(14, is_amd);
        leaves.set(0x8000_0008, 0, Regs::new(0x3030, bit(2, is_amd && has_xsaves) | amd_speculation, 0, 0))?;
        if self.levelling == Levelling::Faulting {
            if is_amd {
                leaves.set(0x8000_0021, 0, Regs::new(1 << 17, 0, 0, 0))?;
            } else {
                leaves.set_msr(0xCE, 1 << 31)?;
            }
        }
        if has_xsave { self.fill_xstate(leaves) } else { Ok(()) }
    }

    fn fill_xstate(&self, leaves: &mut Leaves) -> Result<(), OutsideModel> {
        let user = self.user();
        let has_xsaves = self.save == SaveInstructions::Xsaves;
        let has_cet = has_xsaves && self.has_cet;
        let supervisor = if has_cet { 0x1800 } else { 0 };
        let instructions = if has_xsaves { 0xF } else { 0x1 } | bit(4, self.has_amx);
        // The components of this table, in their order: number, size, offset, ECX.
        let rows = [(2, 256, 576, 0), (9, 8, 2688, 0), (17, 64, 2752, 2), (18, 8192, 2816, 6), (19, 128, 960, 4)];
        let mut standard_bytes = 576;
        for (number, size, offset, flags) in rows {
            if user.bits() >> number & 1 == 1 {
                leaves.set(0xD, number, Regs::new(size, offset, flags, 0))?;
                standard_bytes = standard_bytes.max(offset + size);
            }
        }
        if has_cet {
            leaves.set(0xD, 11, Regs::new(16, 0, 1, 0))?;
            leaves.set(0xD, 12, Regs::new(24, 0, 1, 0))?;
        }
        let user = u32::try_from(user.bits()).unwrap_or_default();
        leaves.set(0xD, 0, Regs::new(user, 0, standard_bytes, 0))?;
        leaves.set(0xD, 1, Regs::new(instructions, 0, supervisor, 0))
    }
}

/// 00000001.ECX, which no guest has.
const X2APIC: u32 = 1 << 21;
/// 00000001.EDX, which no guest has.
const HTT: u32 = 1 << 28;
/// 80000001.ECX, which no guest has.
const CMP_LEGACY: u32 = 1 << 1;
/// 80000001.ECX: the address masks of breakpoints.
const DBEXT: u32 = 1 << 26;

const fn bit(number: u32, is_set: bool) -> u32 {
    (is_set as u32) << number
}

/// The kind of a guest.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum GuestKind {
    /// 64-bit paravirtualised: its kernel runs in ring 3.
    Pv64,
    /// 32-bit paravirtualised: its kernel runs in ring 1.
    Pv32,
    /// Under VMX or SVM.
    Hvm,
}

impl GuestKind {
    /// Whether the guest runs outside of VMX and SVM.
    #[must_use]
    pub const fn is_pv(self) -> bool {
        !matches!(self, Self::Hvm)
    }
}

/// A vCPU, by the choices that a switch depends on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct GuestShape {
    /// The kind of its guest.
    pub kind: GuestKind,
    /// The number of its domain.
    pub domain: u16,
    /// Its number in its domain.
    pub vcpu: u16,
    /// The process-context identifier in its CR3.
    pub pcid: u16,
    /// Whether it has AMX, component 19 and XFD.
    pub has_amx: bool,
    /// Whether it has shadow stacks.
    pub has_cet: bool,
    /// Whether it has protection keys.
    pub has_pku: bool,
    /// Whether it has the address masks of breakpoints, where the machine has them.
    pub has_dbext: bool,
    /// Whether it may write IA32_XFD itself.
    pub writes_xfd: bool,
    /// Whether #NM makes it exit.
    pub intercepts_nm: bool,
}

impl GuestShape {
    /// A vCPU without AMX, CET and PKU.
    #[must_use]
    pub const fn plain(kind: GuestKind, domain: u16, vcpu: u16) -> Self {
        Self {
            kind,
            domain,
            vcpu,
            pcid: 0,
            has_amx: false,
            has_cet: false,
            has_pku: false,
            has_dbext: false,
            writes_xfd: false,
            intercepts_nm: false,
        }
    }

    /// The user components that it may enable.
    #[must_use]
    pub fn user(&self, machine: &MachineShape) -> ComponentSet {
        let MachineShape { virtualisation, save, levelling, .. } = *machine;
        let Self { has_amx, has_cet, has_pku, .. } = *self;
        MachineShape { virtualisation, save, levelling, has_amx, has_cet, has_pku }.user()
    }

    /// The supervisor components that it may enable.
    #[must_use]
    pub const fn supervisor(&self) -> ComponentSet {
        ComponentSet::from_bits(if self.has_cet { 0x1800 } else { 0 })
    }

    /// The components that XFD covers for it; PV guests have no XFD.
    #[must_use]
    pub const fn xfd(&self) -> ComponentSet {
        let has_xfd = self.has_amx && !self.kind.is_pv();
        ComponentSet::from_bits(if has_xfd { 1 << 18 | 1 << 19 } else { 0 })
    }

    /// What CPUID is to show it: the machine without what the guest does not have.
    #[must_use]
    pub fn policy(&self, machine: &MachineShape) -> Leaves {
        let Self { has_amx, has_cet, has_pku, .. } = *self;
        let mut leaves = MachineShape { has_amx, has_cet, has_pku, ..*machine }.leaves();
        let dbext = if self.has_dbext { 0 } else { DBEXT };
        let (basic, extended) = (leaves.get(1, 0), leaves.get(0x8000_0001, 0));
        let basic = Regs { ecx: basic.ecx & !X2APIC, edx: basic.edx & !HTT, ..basic };
        let extended = Regs { ecx: extended.ecx & !CMP_LEGACY & !dbext, ..extended };
        // Both leaves are of the model: they have just been read.
        let _ = leaves.set(1, 0, basic).and_then(|()| leaves.set(0x8000_0001, 0, extended));
        leaves
    }
}
