//! The audit of descriptors that PV guests write.

use crate::VcpuKind;
use crate::gdt::GUEST_DESCRIPTORS;

/// A descriptor that a PV guest may have in its GDT or LDT.
///
/// The guest's tables are read-only to it: it asks for each descriptor, and gets what the audit makes of it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct AuditedDescriptor(u64);

/// Why a descriptor is refused.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// TSS, LDT, interrupt, trap and task gates belong to the hypervisor.
    #[error("system descriptor of type {system_type:#x}")]
    SystemType {
        /// Bits 8 to 11 of the upper half.
        system_type: u8,
    },
    /// 64-bit code of a 32-bit guest would reach addresses that its page tables do not guard.
    #[error("64-bit code segment of a 32-bit guest")]
    LongCode,
    /// A call gate into the hypervisor's own segments.
    #[error("call gate to selector {selector:#06x}, which is not the guest's")]
    GateTarget {
        /// The selector.
        selector: u16,
    },
    /// Bits of a call gate that must be zero: a count of parameters, for one.
    #[error("call gate with reserved bits {bits:#x}")]
    GateReserved {
        /// The low byte of the upper half.
        bits: u8,
    },
    /// HVM guests have tables of their own.
    #[error("the guest is no pv guest")]
    NotPv,
}

const PRESENT: u64 = 1 << 47;
const NOT_SYSTEM: u64 = 1 << 44;
const ACCESSED: u64 = 1 << 40;
const LONG: u64 = 1 << 53;
const DPL_SHIFT: u32 = 45;
const DPL: u64 = 0b11 << DPL_SHIFT;

impl AuditedDescriptor {
    /// Audits a descriptor, and returns what goes into the table.
    ///
    /// * One that is not present is taken as it is: it faults whenever it is used.
    /// * The privilege level is raised to that of the guest's kernel: 3 in 64-bit guests, 1 in 32-bit ones.
    /// * Code and data are marked accessed: the table is read-only, and the CPU would fault on marking them.
    /// * Of system descriptors only call gates are taken, and the empty upper half of a 64-bit one. A gate gets privilege
    ///   level 0, so that using it faults and the hypervisor carries it out; its own level is kept in the RPL of its selector.
    ///
    /// ```
    /// use selfsame_switch::{AuditedDescriptor, VcpuKind};
    ///
    /// let kernel_code = AuditedDescriptor::new(0x00af_9a00_0000_ffff, VcpuKind::Pv64)?;
    /// assert_eq!(kernel_code.bits(), 0x00af_fb00_0000_ffff, "ring 3, accessed");
    /// assert!(AuditedDescriptor::new(0x00af_9a00_0000_ffff, VcpuKind::Pv32).is_err(), "64-bit code");
    /// # Ok::<(), selfsame_switch::DescriptorError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Refuses what would give the guest more than its privilege.
    pub const fn new(bits: u64, kind: VcpuKind) -> Result<Self, DescriptorError> {
        let kernel_level = match kind {
            VcpuKind::Pv64 => 3,
            VcpuKind::Pv32 => 1,
            VcpuKind::Hvm => return Err(DescriptorError::NotPv),
        };
        if bits & PRESENT == 0 {
            return Ok(Self(bits));
        }
        let own_level = bits >> DPL_SHIFT & 0b11;
        let level = if own_level == 0 { kernel_level } else { own_level };
        let leveled = bits & !DPL | level << DPL_SHIFT;
        if bits & NOT_SYSTEM != 0 {
            if matches!(kind, VcpuKind::Pv32) && bits & LONG != 0 {
                return Err(DescriptorError::LongCode);
            }
            return Ok(Self(leveled | ACCESSED));
        }
        match bits >> 40 & 0xF {
            0 => Ok(Self(leveled)),
            CALL_GATE => Self::gate(bits, level, kind),
            _ => Err(DescriptorError::SystemType { system_type: byte(bits, 5) & 0xF }),
        }
    }

    /// Audits a present call gate, whose level is raised to `level`.
    const fn gate(bits: u64, level: u64, kind: VcpuKind) -> Result<Self, DescriptorError> {
        let selector = u16::from_le_bytes([byte(bits, 2), byte(bits, 3)]);
        if !is_guests(selector) {
            return Err(DescriptorError::GateTarget { selector });
        }
        // 32-bit gates count parameters in five bits; 64-bit ones have an interrupt stack there, or zero.
        let reserved = byte(bits, 4) & if matches!(kind, VcpuKind::Pv32) { 0xE0 } else { 0xFF };
        if reserved != 0 {
            return Err(DescriptorError::GateReserved { bits: reserved });
        }
        Ok(Self(bits & !DPL & !(0b11 << 16) | level << 16))
    }

    /// Returns what goes into the table.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Returns the privilege level that the guest gave a call gate.
    #[must_use]
    pub const fn gate_level(self) -> Option<u8> {
        let is_gate = self.0 & (PRESENT | NOT_SYSTEM) == PRESENT && self.0 >> 40 & 0xF == CALL_GATE;
        if is_gate { Some(byte(self.0, 2) & 0b11) } else { None }
    }
}

/// Returns one of the eight bytes of a descriptor.
const fn byte(bits: u64, at: usize) -> u8 {
    bits.to_le_bytes()[at]
}

/// The type of a call gate: of 32 bits in legacy mode, of 64 in long mode.
const CALL_GATE: u64 = 0xC;

/// Tells whether a selector is for the guest's own descriptors: any of the LDT, and the first 7168 of the GDT.
const fn is_guests(selector: u16) -> bool {
    const LDT: u16 = 1 << 2;
    selector & LDT != 0 || selector >> 3 < GUEST_DESCRIPTORS
}

/// How many descriptors a PV guest has in each table: what an emulated instruction may read.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct TableSizes {
    gdt: u16,
    ldt: u16,
}

/// A place in one of a guest's tables.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum DescriptorPlace {
    /// The GDT's descriptor with this number.
    Gdt(u16),
    /// The LDT's descriptor with this number.
    Ldt(u16),
}

impl TableSizes {
    /// Takes the sizes, in descriptors: at most 7168 and 8192.
    #[must_use]
    pub const fn new(gdt: u16, ldt: u16) -> Option<Self> {
        if gdt <= GUEST_DESCRIPTORS && ldt <= 8192 { Some(Self { gdt, ldt }) } else { None }
    }

    /// Returns where the descriptor of a selector is that an emulated instruction of the guest loads, as the CPU would find
    /// it: nowhere beyond the limit of the table, whatever lies there (XSA-298). A null selector has none.
    ///
    /// ```
    /// use selfsame_switch::{DescriptorPlace, TableSizes};
    ///
    /// let sizes = TableSizes::new(8, 0).ok_or("too many")?;
    /// assert_eq!(sizes.find(0x3B), Some(DescriptorPlace::Gdt(7)));
    /// assert_eq!(sizes.find(0x43), None, "the ninth of eight");
    /// assert_eq!(sizes.find(0x07), None, "the first of an LDT of none");
    /// # Ok::<(), &str>(())
    /// ```
    #[must_use]
    pub const fn find(self, selector: u16) -> Option<DescriptorPlace> {
        let number = selector >> 3;
        let is_in_ldt = selector & 1 << 2 != 0;
        match is_in_ldt {
            true if number < self.ldt => Some(DescriptorPlace::Ldt(number)),
            false if number > 0 && number < self.gdt => Some(DescriptorPlace::Gdt(number)),
            _ => None,
        }
    }
}
