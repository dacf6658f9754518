//! State components, and the one table of what the manuals say about each.

use core::fmt;
use core::num::NonZeroU64;

use crate::{ComponentSet, Owner};

/// A state component of the XSAVE feature set: the number of its bit in XCR0 or IA32_XSS (SDM vol. 1, 13.1; APM vol. 2, 11.5).
///
/// Every number from 0 to 62 is a component, known to this crate or not. Bit 63 never is: XCR0 reserves it and XCOMP_BV uses
/// it for the format.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Component(u8);

impl Component {
    /// x87 registers, control, status and pointers (SDM vol. 1, 13.5.1).
    pub const X87: Self = Self(0);
    /// XMM registers and MXCSR (SDM vol. 1, 13.5.2).
    pub const SSE: Self = Self(1);
    /// Upper halves of YMM0 to YMM15 (SDM vol. 1, 13.5.3).
    pub const AVX: Self = Self(2);
    /// MPX bounds registers BND0 to BND3 (SDM vol. 1, 13.5.4).
    pub const BNDREGS: Self = Self(3);
    /// MPX configuration and status, BNDCFGU and BNDSTATUS (SDM vol. 1, 13.5.4).
    pub const BNDCSR: Self = Self(4);
    /// AVX-512 mask registers K0 to K7 (SDM vol. 1, 13.5.5).
    pub const OPMASK: Self = Self(5);
    /// Upper halves of ZMM0 to ZMM15 (SDM vol. 1, 13.5.5).
    pub const ZMM_HI256: Self = Self(6);
    /// ZMM16 to ZMM31 (SDM vol. 1, 13.5.5).
    pub const HI16_ZMM: Self = Self(7);
    /// Intel Processor Trace MSRs (SDM vol. 1, 13.5.6).
    pub const PT: Self = Self(8);
    /// Protection keys for user pages (SDM vol. 1, 13.5.7).
    pub const PKRU: Self = Self(9);
    /// Process address space identifier, IA32_PASID (SDM vol. 1, 13.5).
    pub const PASID: Self = Self(10);
    /// CET user state: IA32_U_CET and IA32_PL3_SSP (SDM vol. 1, 13.5; APM vol. 2, 11.5).
    pub const CET_U: Self = Self(11);
    /// CET supervisor state: IA32_PL0_SSP to IA32_PL2_SSP (SDM vol. 1, 13.5; APM vol. 2, 11.5).
    pub const CET_S: Self = Self(12);
    /// Hardware duty cycling, IA32_PM_CTL1 (SDM vol. 1, 13.5).
    pub const HDC: Self = Self(13);
    /// User interrupts (SDM vol. 1, 13.5).
    pub const UINTR: Self = Self(14);
    /// Architectural last branch records (SDM vol. 1, 13.5).
    pub const LBR: Self = Self(15);
    /// Hardware-controlled performance states, IA32_HWP_REQUEST (SDM vol. 1, 13.5).
    pub const HWP: Self = Self(16);
    /// AMX tile configuration (SDM vol. 1, 13.5).
    pub const XTILECFG: Self = Self(17);
    /// AMX tile data (SDM vol. 1, 13.5).
    pub const XTILEDATA: Self = Self(18);
    /// APX general registers R16 to R31 (Intel APX architecture specification).
    pub const APX: Self = Self(19);
    /// Lightweight profiling, AMD family 0x15 only (APM vol. 2, 11.5 and chapter 13).
    pub const LWP: Self = Self(62);

    /// Returns component number `index`, or `None` above 62.
    #[must_use]
    #[inline]
    pub const fn new(index: u8) -> Option<Self> {
        if index <= 62 { Some(Self(index)) } else { None }
    }

    /// Returns the first component of some, of which none is bit 63.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "at most 62")]
    pub(crate) const fn lowest(bits: NonZeroU64) -> Self {
        Self(bits.trailing_zeros() as u8)
    }

    /// Returns the number of the component's bit.
    #[must_use]
    #[inline]
    pub const fn index(self) -> u8 {
        self.0
    }

    /// Returns the component's row of [`COMPONENTS`], or `None` for a number that the manuals do not name.
    #[must_use]
    pub fn described(self) -> Option<&'static ComponentRow> {
        COMPONENTS.iter().find(|row| row.component == self)
    }

    /// Returns the component's lower-case name, or `None` for a number that the manuals do not name.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.described().map(|row| row.name)
    }

    /// Returns the component's class, or `None` for a number that the manuals do not name.
    #[must_use]
    pub fn class(self) -> Option<Class> {
        self.described().map(|row| row.class)
    }

    /// Returns whose content the component's registers have, or `None` for a number that the manuals do not name.
    #[must_use]
    pub fn owner(self) -> Option<Owner> {
        self.described().map(|row| row.owner)
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "component-{}", self.0),
        }
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Component({}: {self})", self.0)
    }
}

/// How software has to treat a component.
///
/// XCR0 and IA32_XSS know only user and supervisor; the other classes are practice, named after Linux's.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Class {
    /// Enabled in XCR0.
    User,
    /// Enabled in IA32_XSS.
    Supervisor,
    /// Enabled in XCR0, and large enough that tasks and guests get it on request only.
    UserDynamic,
    /// Enabled in IA32_XSS, and kept for guests only: the host's own copy never leaves the registers with a task.
    KernelDynamic,
    /// Enabled in IA32_XSS, and kept in a buffer of its own instead of with the rest.
    Independent,
    /// Belongs to IA32_XSS, and is neither enabled nor kept: what has it manages it by other means, or not at all.
    Unsupported,
}

impl Class {
    /// Tells whether the component is enabled in IA32_XSS instead of XCR0.
    #[must_use]
    pub const fn is_supervisor(self) -> bool {
        matches!(self, Self::Supervisor | Self::KernelDynamic | Self::Independent | Self::Unsupported)
    }

    /// Returns the class's name, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Supervisor => "supervisor",
            Self::UserDynamic => "user-dynamic",
            Self::KernelDynamic => "kernel-dynamic",
            Self::Independent => "independent",
            Self::Unsupported => "unsupported",
        }
    }

    /// Returns every component of the class that the manuals name.
    ///
    /// ```
    /// use selfsame_xstate::{Class, Component};
    ///
    /// assert_eq!(Class::UserDynamic.components(), Component::XTILEDATA.into());
    /// ```
    #[must_use]
    pub const fn components(self) -> ComponentSet {
        let mut set = ComponentSet::EMPTY;
        let mut rest: &[ComponentRow] = &TABLE;
        while let [row, tail @ ..] = rest {
            if row.class as u8 == self as u8 {
                set = set.with(row.component);
            }
            rest = tail;
        }
        set
    }
}

/// A known family of standard-format offsets.
///
/// The architecture leaves offsets to the CPU (CPUID.(0xD,n).EBX), but each vendor has kept its own since the first CPU that
/// had the component. Intel left a hole after AVX that AMD filled, so everything after AVX-512 differs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Offsets {
    /// The places Intel CPUs use.
    Intel,
    /// The places AMD CPUs use.
    Amd,
}

/// What the manuals say of one component.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ComponentRow {
    /// The component.
    pub component: Component,
    /// Its lower-case name.
    pub name: &'static str,
    /// How software has to treat it.
    pub class: Class,
    /// Whose content its registers have.
    pub owner: Owner,
    /// Its size where that is the same on every CPU, but for CPUs that round up what is only partly used: Zen 2 gives PKRU 64
    /// bytes.
    pub size_bytes: Option<u32>,
    /// How many of its first bytes mean something, where that is less than its size; CPUs ignore and clear the others.
    pub used_bytes: Option<u32>,
    /// The first eight bytes of its initial configuration, little-endian; the others are zero (SDM vol. 1, 13.6).
    pub initial: u64,
    /// Whether the compacted format rounds its offset up to 64, where that is the same on every CPU.
    pub is_aligned64: Option<bool>,
    /// Its offset in the standard format on Intel CPUs, where known.
    pub intel: Option<u32>,
    /// Its offset in the standard format on AMD CPUs, where known.
    pub amd: Option<u32>,
    /// The model-specific registers that the component consists of, in the order of its bytes; none for a component whose
    /// registers are reached by other instructions.
    pub msrs: &'static [u32],
    /// Where the row comes from.
    pub source: &'static str,
}

impl ComponentRow {
    /// Returns the standard-format offset in a vendor's family, where known.
    #[must_use]
    pub const fn offset_bytes(&self, offsets: Offsets) -> Option<u32> {
        match offsets {
            Offsets::Intel => self.intel,
            Offsets::Amd => self.amd,
        }
    }

    const fn user(component: Component, name: &'static str, size_bytes: u32, source: &'static str) -> Self {
        let (class, owner, size_bytes, is_aligned64) = (Class::User, Owner::Vcpu, Some(size_bytes), Some(false));
        let (used_bytes, initial, intel, amd, msrs): (_, _, _, _, &[u32]) = (None, 0, None, None, &[]);
        Self { component, name, class, owner, size_bytes, used_bytes, initial, is_aligned64, intel, amd, msrs, source }
    }

    const fn supervisor(component: Component, name: &'static str, size_bytes: u32, source: &'static str) -> Self {
        Self { class: Class::Supervisor, ..Self::user(component, name, size_bytes, source) }
    }

    const fn at(self, intel: u32, amd: u32) -> Self {
        self.at_intel(intel).at_amd(amd)
    }

    const fn at_intel(self, offset: u32) -> Self {
        Self { intel: Some(offset), ..self }
    }

    const fn at_amd(self, offset: u32) -> Self {
        Self { amd: Some(offset), ..self }
    }

    const fn class(self, class: Class) -> Self {
        Self { class, ..self }
    }

    const fn owner(self, owner: Owner) -> Self {
        Self { owner, ..self }
    }

    const fn using(self, bytes: u32) -> Self {
        Self { used_bytes: Some(bytes), ..self }
    }

    const fn initially(self, initial: u64) -> Self {
        Self { initial, ..self }
    }

    const fn msrs(self, msrs: &'static [u32]) -> Self {
        Self { msrs, ..self }
    }

    const fn aligned64(self) -> Self {
        Self { is_aligned64: Some(true), ..self }
    }

    const fn unfixed(self) -> Self {
        Self { size_bytes: None, is_aligned64: None, ..self }
    }
}

/// Every component that the manuals name, in ascending order.
///
/// Sizes are given where every CPU that has the component agrees. Offsets are what CPUs of the vendor report; an absent
/// offset means that no CPU of that vendor is known to have the component.
pub static COMPONENTS: [ComponentRow; 21] = TABLE;

pub(crate) const TABLE: [ComponentRow; 21] = {
    use Component as C;
    use ComponentRow as R;
    [
        R::user(C::X87, "x87", 160, "SDM vol. 1, 13.5.1: bytes 0-23 and 32-159 of the legacy region").at(0, 0),
        R::user(C::SSE, "sse", 256, "SDM vol. 1, 13.5.2: XMM at 160; MXCSR lies in the bytes of x87").at(160, 160),
        R::user(C::AVX, "avx", 256, "SDM vol. 1, 13.5.3; APM vol. 2, 11.5").at(0x240, 0x240),
        R::user(C::BNDREGS, "bndregs", 64, "SDM vol. 1, 13.5.4").at_intel(0x3C0),
        R::user(C::BNDCSR, "bndcsr", 64, "SDM vol. 1, 13.5.4").using(16).at_intel(0x400),
        R::user(C::OPMASK, "opmask", 64, "SDM vol. 1, 13.5.5; offsets as reported by Skylake-X and Zen 4")
            .at(0x440, 0x340),
        R::user(C::ZMM_HI256, "zmm-hi256", 512, "SDM vol. 1, 13.5.5; offsets as reported by Skylake-X and Zen 4")
            .at(0x480, 0x380),
        R::user(C::HI16_ZMM, "hi16-zmm", 1024, "SDM vol. 1, 13.5.5; offsets as reported by Skylake-X and Zen 4")
            .at(0x680, 0x580),
        // The number of address-range MSRs varies, and CPUs round the size up, all to the same. What traces a CPU also switches
        // its MSRs.
        R::supervisor(C::PT, "pt", 128, "SDM vol. 1, 13.5.6; size as reported by every CPU from Skylake on")
            .class(Class::Unsupported)
            .owner(Owner::Cpu),
        R::user(C::PKRU, "pkru", 8, "SDM vol. 1, 13.5.7: 4 bytes are used; offsets as reported by Skylake-X and Zen 3")
            .using(4)
            .at(0xA80, 0x980),
        R::supervisor(C::PASID, "pasid", 8, "SDM vol. 1, 13.5: one MSR").msrs(&[0xD93]),
        R::supervisor(C::CET_U, "cet-u", 16, "SDM vol. 1, 13.5; APM vol. 2, 11.5: two MSRs").msrs(&[0x6A0, 0x6A7]),
        R::supervisor(C::CET_S, "cet-s", 24, "SDM vol. 1, 13.5; APM vol. 2, 11.5: three MSRs")
            .msrs(&[0x6A4, 0x6A5, 0x6A6])
            .class(Class::KernelDynamic)
            .owner(Owner::HvmVcpu),
        R::supervisor(C::HDC, "hdc", 8, "SDM vol. 1, 13.5: one MSR; allowed at reset")
            .initially(1)
            .msrs(&[0xDB0])
            .class(Class::Unsupported)
            .owner(Owner::Cpu),
        R::supervisor(C::UINTR, "uintr", 48, "SDM vol. 1, 13.5: six MSRs")
            .msrs(&[0x986, 0x987, 0x988, 0x989, 0x98A, 0x985])
            .class(Class::Unsupported),
        // The size follows the depth of the LBR stack; every CPU seen so far reports 808 bytes, unaligned.
        R::supervisor(C::LBR, "lbr", 0, "SDM vol. 1, 13.5").unfixed().class(Class::Independent).owner(Owner::Cpu),
        R::supervisor(C::HWP, "hwp", 8, "SDM vol. 1, 13.5: one MSR; the whole range at reset")
            .initially(0x8000_FF01)
            .msrs(&[0x774])
            .class(Class::Unsupported)
            .owner(Owner::Cpu),
        R::user(C::XTILECFG, "xtilecfg", 64, "SDM vol. 1, 13.5; offset as reported by Sapphire Rapids")
            .at_intel(0xAC0)
            .aligned64(),
        // Leaf 0x1D fixes the size for palette 1, the only one there is: eight tiles of 1 KiB.
        R::user(C::XTILEDATA, "xtiledata", 8192, "SDM vol. 1, 13.5; offset as reported by Sapphire Rapids")
            .at_intel(0xB00)
            .aligned64()
            .class(Class::UserDynamic),
        R::user(C::APX, "apx", 128, "Intel APX specification: the bytes that MPX had, below its number")
            .at_intel(0x3C0),
        R::user(C::LWP, "lwp", 128, "APM vol. 2, 11.5 and chapter 13; APM vol. 3, E: below its number").at_amd(0x340),
    ]
};

/// The bits of the components that the manuals put in IA32_XSS.
pub(crate) const SUPERVISOR_BITS: u64 = {
    let mut bits = 0;
    let mut rest: &[ComponentRow] = &TABLE;
    while let [row, tail @ ..] = rest {
        if row.class.is_supervisor() {
            bits |= 1 << row.component.index();
        }
        rest = tail;
    }
    bits
};

/// By component number, how many of its first bytes mean something: all, where nothing else is known.
pub(crate) static USED_BYTES: [u32; 63] = {
    let mut used_bytes = [u32::MAX; 63];
    let mut rest: &[ComponentRow] = &TABLE;
    while let [row, tail @ ..] = rest {
        if let Some(bytes) = row.used_bytes {
            used_bytes[row.component.index() as usize] = bytes;
        }
        rest = tail;
    }
    used_bytes
};

/// By component number, the first eight bytes of its initial configuration.
pub(crate) static INITIAL: [u64; 63] = {
    let mut initial = [0; 63];
    let mut rest: &[ComponentRow] = &TABLE;
    while let [row, tail @ ..] = rest {
        initial[row.component.index() as usize] = row.initial;
        rest = tail;
    }
    initial
};

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use super::*;

    #[test]
    fn component_63_does_not_exist() {
        assert_eq!(Component::new(62), Some(Component::LWP));
        assert_eq!(Component::new(63), None);
        assert_eq!(Component::new(255), None);
    }

    #[test]
    fn the_table_ascends_and_its_names_are_unique() {
        assert!(COMPONENTS.is_sorted_by(|a, b| a.component < b.component));
        for row in &COMPONENTS {
            assert_eq!(COMPONENTS.iter().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
            assert_eq!(row.component.name(), Some(row.name));
            assert!(!row.source.is_empty());
        }
    }

    #[test]
    fn supervisor_components_have_no_standard_offset_and_user_components_have_one() {
        for row in &COMPONENTS {
            assert_eq!(row.class.is_supervisor(), row.intel.is_none() && row.amd.is_none(), "{}", row.name);
        }
        assert_eq!(SUPERVISOR_BITS, 0x1_FD00);
        let all: ComponentSet = COMPONENTS.iter().map(|row| row.component).collect();
        assert_eq!(ComponentSet::USER, all - ComponentSet::from_bits(SUPERVISOR_BITS));
        assert!(ComponentSet::GUEST_SUPERVISOR.is_subset_of(ComponentSet::from_bits(SUPERVISOR_BITS)));
    }

    #[test]
    fn unknown_components_print_their_number() {
        let unknown = Component::new(42).unwrap();
        assert_eq!(unknown.name(), None);
        assert_eq!(unknown.to_string(), "component-42");
        assert_eq!(Component::ZMM_HI256.to_string(), "zmm-hi256");
    }

    #[test]
    fn only_tile_data_is_user_dynamic_and_only_cet_s_kernel_dynamic() {
        let of = |class| COMPONENTS.iter().filter(move |row| row.class == class).map(|row| row.component);
        assert!(of(Class::UserDynamic).eq([Component::XTILEDATA]));
        assert!(of(Class::KernelDynamic).eq([Component::CET_S]));
        assert!(of(Class::Independent).eq([Component::LBR]));
    }
}
