//! The registers that a switch takes from one vCPU to the next, one row each.

use selfsame_cpuid::{Leaves, feature};
use selfsame_xstate::LinearAddresses;

/// What a CPU runs, as far as the contents of its registers go: a column of [`REGISTERS`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Occupancy {
    /// No vCPU: its last one has been taken off.
    Idle,
    /// A vCPU whose guest runs outside of ring 0.
    Pv,
    /// A vCPU in VMX non-root operation.
    Vmx,
    /// A vCPU in SVM guest mode.
    Svm,
}

impl Occupancy {
    /// All of them, in the order of the columns.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Pv, Self::Vmx, Self::Svm];

    /// Returns the name, as in `docs/switch.md`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Pv => "pv",
            Self::Vmx => "hvm (vmx)",
            Self::Svm => "hvm (svm)",
        }
    }
}

/// What a register has to hold while something runs: a cell of [`REGISTERS`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Content {
    /// The vCPU's value. The guest's own writes are intercepted, so what is recorded of the vCPU is always true.
    Vcpu,
    /// The vCPU's value, which the guest changes without an exit: it is read back when the vCPU leaves.
    Live,
    /// This CPU's own value: the hypervisor depends on it while the guest runs.
    Own,
    /// VM entry or VMLOAD puts the vCPU's value there, and the way out of the guest this CPU's own.
    Carried,
    /// Whatever is there: nobody can tell.
    Any,
}

impl Content {
    /// Returns the name, as in `docs/switch.md`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vcpu => "vcpu's",
            Self::Live => "vcpu's, live",
            Self::Own => "own",
            Self::Carried => "carried",
            Self::Any => "any",
        }
    }
}

/// One register that is switched.
#[derive(Clone, Copy, Debug)]
pub struct RegisterRow {
    /// The register.
    pub register: Register,
    /// Its number, as ECX of WRMSR has it.
    pub number: u32,
    /// Its name, as in the manuals.
    pub name: &'static str,
    /// The features that bring it, any of them; none if every CPU in long mode has it.
    pub features: &'static [&'static str],
    /// What it holds, for each [`Occupancy`].
    pub contents: [Content; 4],
    /// Why.
    pub reason: &'static str,
}

impl RegisterRow {
    /// Returns what the register holds while `occupancy` runs.
    #[must_use]
    pub const fn content(&self, occupancy: Occupancy) -> Content {
        let [idle, pv, vmx, svm] = self.contents;
        match occupancy {
            Occupancy::Idle => idle,
            Occupancy::Pv => pv,
            Occupancy::Vmx => vmx,
            Occupancy::Svm => svm,
        }
    }

    /// Tells whether the register takes a value that a guest writes: of an address that it is canonical, of the others that
    /// no reserved bit is set. (The bits of SPEC_CTRL follow features; those beyond what every CPU with it has are refused.)
    ///
    /// `addresses` are those of the guest's policy. CR4.LA57 has no part in it: WRMSR goes by what the CPU has, whatever
    /// paging is on (Linux, `is_noncanonical_msr_address` in `arch/x86/kvm/x86.h`).
    ///
    /// ```
    /// use selfsame_switch::Register;
    /// use selfsame_xstate::LinearAddresses;
    ///
    /// let lstar = Register::Lstar.row();
    /// let entry = 0xff10_0000_8100_0000;
    /// assert!(lstar.is_legal(entry, LinearAddresses::Bits57));
    /// assert!(!lstar.is_legal(entry, LinearAddresses::Bits48));
    /// ```
    #[must_use]
    pub const fn is_legal(&self, value: u64, addresses: LinearAddresses) -> bool {
        const IBRS_STIBP_SSBD: u64 = 0b111;
        match self.register {
            Register::TscAux | Register::Sfmask | Register::Pkrs => value >> 32 == 0,
            Register::Star | Register::SysenterCs | Register::PsrAssoc => true,
            Register::SpecCtrl => value & !IBRS_STIBP_SSBD == 0,
            Register::FsBase
            | Register::GsBase
            | Register::KernelGsBase
            | Register::Lstar
            | Register::Cstar
            | Register::SysenterEsp
            | Register::SysenterEip => addresses.has_canonical(value),
        }
    }

    /// Tells whether the CPU that answers `raw` has the register.
    #[must_use]
    pub fn is_on(&self, raw: &Leaves) -> bool {
        self.features.is_empty() || self.features.iter().any(|name| has_feature(raw, name))
    }
}

/// Tells whether `raw` has the feature with this canonical name.
pub(crate) fn has_feature(raw: &Leaves, name: &str) -> bool {
    feature(name).is_some_and(|row| raw.is_set(row.place))
}

macro_rules! registers {
    ($($number:literal $register:ident $name:literal $features:tt
        [$idle:ident $pv:ident $vmx:ident $svm:ident] $reason:literal)*) => {
        /// A model-specific register that is switched by the rules of its row in [`REGISTERS`].
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum Register {
            $(#[doc = concat!($name, ": ", $reason)] $register,)*
        }

        impl Register {
            /// Every register that is switched, in the order of [`REGISTERS`].
            pub const ALL: [Self; COUNT] = [$(Self::$register),*];

        }

        impl RegisterSet {
            /// Has `visit` see each register of the set in the order of [`REGISTERS`]. There is code for each, so that its place
            /// and its number are in the instructions: a loop would take longer to find them than to write.
            #[inline(always)]
            pub fn for_each(self, mut visit: impl FnMut(Register)) {
                $(if self.contains(Register::$register) {
                    visit(Register::$register);
                })*
            }
        }

        /// How many registers are switched.
        pub(crate) const COUNT: usize = [$(Register::$register),*].len();

        /// The registers that are switched. To switch another, add a row.
        pub static REGISTERS: [RegisterRow; COUNT] = TABLE;

        const TABLE: [RegisterRow; COUNT] = [$(RegisterRow {
            register: Register::$register,
            number: $number,
            name: $name,
            features: &$features,
            contents: [Content::$idle, Content::$pv, Content::$vmx, Content::$svm],
            reason: $reason,
        }),*];
    };
}

// The columns are idle, pv, vmx, svm.
#[rustfmt::skip]
registers! {
    0xc000_0100 FsBase "FS_BASE" [] [Any Live Carried Carried]
        "PV guests change it with segment loads and WRFSBASE; the VMCS and the VMCB have it (XSA-293)"
    0xc000_0101 GsBase "GS_BASE" [] [Any Live Carried Carried]
        "PV guests change it with segment loads and WRGSBASE; the VMCS and the VMCB have it (XSA-293)"
    0xc000_0102 KernelGsBase "KERNEL_GS_BASE" [] [Any Vcpu Live Carried]
        "PV guests cannot SWAPGS; VMX does not carry it and guests SWAPGS at will; VMLOAD has it"
    0xc000_0081 Star "STAR" [] [Any Own Vcpu Carried]
        "SYSCALL of a PV guest enters the hypervisor; VMX does not carry it; VMLOAD has it"
    0xc000_0082 Lstar "LSTAR" [] [Any Own Vcpu Carried]
        "SYSCALL of a PV guest enters the hypervisor; VMX does not carry it; VMLOAD has it"
    0xc000_0083 Cstar "CSTAR" [] [Any Own Vcpu Carried]
        "SYSCALL of a 32-bit PV task enters the hypervisor on AMD; VMX does not carry it; VMLOAD has it"
    0xc000_0084 Sfmask "SFMASK" [] [Any Own Vcpu Carried]
        "SYSCALL of a PV guest enters the hypervisor; VMX does not carry it; VMLOAD has it"
    0x0000_0174 SysenterCs "SYSENTER_CS" ["sep"] [Any Own Carried Carried]
        "SYSENTER of a PV guest enters the hypervisor; the VMCS and the VMCB have it"
    0x0000_0175 SysenterEsp "SYSENTER_ESP" ["sep"] [Any Own Carried Carried]
        "SYSENTER of a PV guest enters the hypervisor; the VMCS and the VMCB have it"
    0x0000_0176 SysenterEip "SYSENTER_EIP" ["sep"] [Any Own Carried Carried]
        "SYSENTER of a PV guest enters the hypervisor; the VMCS and the VMCB have it"
    0xc000_0103 TscAux "TSC_AUX" ["rdtscp", "rdpid"] [Any Vcpu Vcpu Vcpu]
        "RDTSCP and RDPID show it at any privilege level, and no VMCS or VMCB carries it"
    0x0000_0048 SpecCtrl "SPEC_CTRL" ["spec-ctrl", "ibrs", "amd-stibp", "amd-ssbd"] [Own Vcpu Vcpu Vcpu]
        "speculation as the vCPU wants it, or stricter; idle has this CPU's"
    0x0000_06e1 Pkrs "PKRS" ["pks"] [Any Any Vcpu Any]
        "only HVM guests on VMX have CR4.PKS, and no component has it"
    0x0000_0c8f PsrAssoc "PQR_ASSOC" ["cmt", "rdt-a"] [Own Vcpu Vcpu Vcpu]
        "cache and bandwidth are accounted to who runs, idle included"
}

impl Register {
    /// Returns the register's row.
    #[must_use]
    pub const fn row(self) -> &'static RegisterRow {
        &REGISTERS[self.index()]
    }

    /// Returns the place of the register's row.
    #[inline]
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// A set of registers that are switched.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct RegisterSet(u32);

const _: () = assert!(COUNT <= 32);

impl RegisterSet {
    /// No register.
    pub const EMPTY: Self = Self(0);

    /// Returns the registers that the CPU that answers `raw` has.
    #[must_use]
    pub fn of(raw: &Leaves) -> Self {
        REGISTERS.iter().filter(|row| row.is_on(raw)).map(|row| row.register).collect()
    }

    /// Returns the registers that hold `content` while `occupancy` runs.
    #[must_use]
    pub(crate) const fn with_content(content: Content, occupancy: Occupancy) -> Self {
        let mut set = 0;
        let mut at = 0;
        while at < COUNT {
            if TABLE[at].content(occupancy) as u8 == content as u8 {
                set |= 1 << at;
            }
            at += 1;
        }
        Self(set)
    }

    /// Tells whether `register` is in the set.
    #[must_use]
    #[inline]
    pub const fn contains(self, register: Register) -> bool {
        self.0 >> register.index() & 1 == 1
    }

    /// Returns what is in both sets.
    #[must_use]
    #[inline]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns what is in either set.
    #[must_use]
    #[inline]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns what is in the set and not in `other`.
    #[must_use]
    #[inline]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns the set with `register` added.
    #[must_use]
    #[inline]
    pub const fn with(self, register: Register) -> Self {
        Self(self.0 | 1 << register.index())
    }
}

impl FromIterator<Register> for RegisterSet {
    fn from_iter<I: IntoIterator<Item = Register>>(registers: I) -> Self {
        Self(registers.into_iter().fold(0, |set, register| set | 1 << register.index()))
    }
}

/// A value for every register that is switched.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Registers([u64; COUNT]);

impl Registers {
    /// Every register zero, as after RESET.
    pub const RESET: Self = Self([0; COUNT]);

    /// Returns a register's value.
    #[must_use]
    #[inline]
    pub const fn get(&self, register: Register) -> u64 {
        self.0[register.index()]
    }

    /// Sets a register's value.
    #[inline]
    pub const fn set(&mut self, register: Register, value: u64) {
        self.0[register.index()] = value;
    }
}
