//! What one CPUID execution writes.

use crate::place::Register;

/// The four registers that CPUID writes, and nothing else.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
#[repr(C)]
pub struct Regs {
    /// EAX.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX.
    pub ecx: u32,
    /// EDX.
    pub edx: u32,
}

impl Regs {
    /// All four zero: what a policy answers for leaves that it does not hold.
    pub const ZERO: Self = Self { eax: 0, ebx: 0, ecx: 0, edx: 0 };

    /// The registers in the order EAX, EBX, ECX, EDX.
    pub const fn new(eax: u32, ebx: u32, ecx: u32, edx: u32) -> Self {
        Self { eax, ebx, ecx, edx }
    }

    /// The registers as an array, EAX first.
    pub const fn to_array(self) -> [u32; 4] {
        [self.eax, self.ebx, self.ecx, self.edx]
    }

    /// Whether all four are zero.
    pub const fn is_zero(self) -> bool {
        self.eax | self.ebx | self.ecx | self.edx == 0
    }

    /// Whether a part of the vendor's name, which leaf 0 has in EBX, ECX and EDX, is zero and the rest is not.
    pub(crate) const fn has_half_a_vendor(self) -> bool {
        let (is_whole, is_absent) =
            (self.ebx != 0 && self.ecx != 0 && self.edx != 0, self.ebx | self.ecx | self.edx == 0);
        !is_whole && !is_absent
    }

    /// One register.
    pub const fn get(self, register: Register) -> u32 {
        match register {
            Register::Eax => self.eax,
            Register::Ebx => self.ebx,
            Register::Ecx => self.ecx,
            Register::Edx => self.edx,
        }
    }

    /// One register, to be changed.
    pub const fn get_mut(&mut self, register: Register) -> &mut u32 {
        match register {
            Register::Eax => &mut self.eax,
            Register::Ebx => &mut self.ebx,
            Register::Ecx => &mut self.ecx,
            Register::Edx => &mut self.edx,
        }
    }
}

impl From<[u32; 4]> for Regs {
    fn from([eax, ebx, ecx, edx]: [u32; 4]) -> Self {
        Self { eax, ebx, ecx, edx }
    }
}
