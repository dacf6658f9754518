//! The registers of a vCPU that CPUID shows.

use selfsame_xstate::ComponentSet;

use crate::apic_id::ApicId;

/// What CPUID depends on besides the policy: the registers of the vCPU that executes it.
///
/// ```
/// use selfsame_cpuid::{ApicId, VcpuView};
///
/// let vcpu = VcpuView { has_osxsave: true, ..VcpuView::new(ApicId::new(3)) };
/// assert_eq!(vcpu.apic_id.x2apic(), 3);
/// assert_eq!(VcpuView::RESET.xcr0.bits(), 1);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VcpuView {
    /// The id of its local APIC; [`Topology::apic_id`](crate::Topology::apic_id) says which one a vCPU has.
    pub apic_id: ApicId,
    /// XCR0.
    pub xcr0: ComponentSet,
    /// IA32_XSS.
    pub xss: ComponentSet,
    /// Whether CR4.OSXSAVE, bit 18, is set.
    pub has_osxsave: bool,
    /// Whether CR4.PKE, bit 22, is set.
    pub has_pke: bool,
    /// Whether IA32_APIC_BASE.EN, bit 11, is set.
    pub is_apic_enabled: bool,
    /// Whether the code segment is a 64-bit one: EFER.LMA and CS.L.
    pub is_in_64_bit_mode: bool,
}

impl VcpuView {
    /// After reset, with APIC id 0 (SDM vol. 3A, table 10-1): XCR0 is 1 and the APIC is enabled.
    pub const RESET: Self = Self {
        apic_id: ApicId::ZERO,
        xcr0: ComponentSet::from_bits(1),
        xss: ComponentSet::EMPTY,
        has_osxsave: false,
        has_pke: false,
        is_apic_enabled: true,
        is_in_64_bit_mode: false,
    };

    /// After reset, with an APIC id.
    pub const fn new(apic_id: ApicId) -> Self {
        Self { apic_id, ..Self::RESET }
    }
}

impl Default for VcpuView {
    fn default() -> Self {
        Self::RESET
    }
}
