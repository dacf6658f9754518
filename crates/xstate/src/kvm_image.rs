//! What Linux's KVM_SET_XSAVE does with an image: the third reading.
//!
//! Read in Linux 7.3 (`kvm_vcpu_ioctl_x86_set_xsave`, `fpu_copy_uabi_to_guest_fpstate`, `copy_uabi_to_xstate`) and compared
//! with Linux 6.18 by its ioctl. It is neither the hardware's reading nor does it follow from it: KVM takes standard images
//! in the host's own places only, and changes some of what it does not refuse.

use core::fmt;

use crate::{Component, ComponentSet, Geometry, Header, Image, MXCSR_INITIAL, MxcsrMask};

/// What KVM gives guests of in XCR0 at most (Linux 7.3, `KVM_SUPPORTED_XCR0`): neither APX nor LWP.
const KVM_XCR0: ComponentSet = ComponentSet::from_bits(0x6_02FF);

/// A vCPU of KVM, as far as KVM_SET_XSAVE looks at it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct KvmVcpu {
    /// What KVM supports on this host: XCR0 of the host, as far as KVM knows it, and nothing where the host has no XSAVE.
    /// *Not* what the guest's CPUID shows.
    pub supported: ComponentSet,
    /// What the vCPU's buffer holds: all but user-dynamic components, and those once a CPUID that has them was set.
    pub buffer: ComponentSet,
    /// The guest's IA32_XFD.
    pub xfd: ComponentSet,
    /// The bits of the host's MXCSR.
    pub mxcsr_mask: MxcsrMask,
}

impl KvmVcpu {
    /// A vCPU whose guest was given everything that KVM gives on a host, and has not set IA32_XFD.
    #[must_use]
    pub fn with_everything(host: &Geometry, mxcsr_mask: MxcsrMask) -> Self {
        let supported = host.user().intersection(KVM_XCR0);
        Self { supported, buffer: supported, xfd: ComponentSet::EMPTY, mxcsr_mask }
    }
}

/// Why KVM_SET_XSAVE answers EINVAL.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KvmRefusal {
    /// XSTATE_BV has what KVM does not support on the host, or has no room for in this vCPU.
    #[error("xstate_bv has {components}, which kvm does not support here")]
    Unsupported {
        /// The components.
        components: ComponentSet,
    },
    /// XCOMP_BV is not zero: KVM takes no compacted image.
    #[error("xcomp_bv is {xcomp_bv:#x}, and kvm takes standard images only")]
    CompactionBits {
        /// The value.
        xcomp_bv: u64,
    },
    /// Bytes 16 to 63 of the header are not zero.
    #[error("bytes 16 to 63 of the header are not zero")]
    Reserved,
    /// MXCSR has bits that the host has not. It is only looked at where x87, SSE or AVX is present, or the host has no XSAVE.
    #[error("mxcsr {mxcsr:#x} has bits that the host has not")]
    Mxcsr {
        /// The value.
        mxcsr: u32,
    },
}

/// Something that KVM does with an image it takes, and that neither hardware nor the strict reading does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum KvmQuirk {
    /// Components that the guest's XFD disables are put into their initial configuration without a word.
    XfdDropped {
        /// The components.
        components: ComponentSet,
    },
    /// PKRU is absent, and keeps the value it has in the vCPU; everything else that is absent becomes initial.
    PkruKept,
    /// Neither SSE nor AVX is present, and MXCSR becomes 0x1F80, whatever the image holds.
    MxcsrIgnored {
        /// The value in the image.
        mxcsr: u32,
    },
    /// AVX is present and SSE is not: GET_XSAVE shows MXCSR as it was given, and a host that saves compacted enters the
    /// guest with 0x1F80.
    MxcsrLostAtEntry {
        /// The value in the image.
        mxcsr: u32,
    },
}

impl fmt::Display for KvmQuirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::XfdDropped { components } => write!(f, "{components} become initial: xfd disables them"),
            Self::PkruKept => f.write_str("pkru is absent, and keeps the value that it has in the vcpu"),
            Self::MxcsrIgnored { mxcsr } => {
                write!(f, "mxcsr {mxcsr:#x} is ignored without sse and avx, and becomes 0x1f80")
            }
            Self::MxcsrLostAtEntry { mxcsr } => {
                write!(f, "mxcsr {mxcsr:#x} is shown without sse, and may become 0x1f80 when the guest is entered")
            }
        }
    }
}

/// What KVM_SET_XSAVE makes of an image; made by [`kvm_set_xsave`].
///
/// Supervisor components (CET) are untouched: they travel as MSRs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KvmLoaded {
    /// The components that are loaded; other user components become initial, but for PKRU.
    pub components: ComponentSet,
    /// MXCSR as KVM_GET_XSAVE shows it afterwards.
    pub mxcsr: u32,
    quirks: [Option<KvmQuirk>; 4],
}

impl KvmLoaded {
    /// Names everything that KVM does differently from hardware with this image.
    pub fn quirks(&self) -> impl Iterator<Item = KvmQuirk> + use<> {
        self.quirks.into_iter().flatten()
    }
}

/// Tells what KVM_SET_XSAVE does with an image with this header and this MXCSR.
///
/// Before anything else KVM copies as many bytes as the vCPU's buffer is long, 4096 or more: whoever passes fewer gets EFAULT,
/// or has whatever lies behind them read. Bytes 464 to 511 are ignored; see [`kvm_host_mask`].
///
/// On a host without XSAVE it asks whether XSTATE_BV has more than x87 and SSE and whether MXCSR is right, and copies the
/// legacy region, whatever XSTATE_BV says is in it.
///
/// ```
/// use selfsame_xstate::{ComponentSet, Header, KvmQuirk, KvmVcpu, MxcsrMask, kvm_set_xsave};
///
/// let host = ComponentSet::from_bits(0x207);
/// let vcpu = KvmVcpu { supported: host, buffer: host, xfd: ComponentSet::EMPTY, mxcsr_mask: MxcsrMask::COMMON };
/// let header = Header { xstate_bv: 0b100, ..Header::default() };
/// let loaded = kvm_set_xsave(&header, 0x3F80, &vcpu)?;
/// assert_eq!(loaded.mxcsr, 0x3F80);
/// assert!(loaded.quirks().eq([KvmQuirk::PkruKept, KvmQuirk::MxcsrLostAtEntry { mxcsr: 0x3F80 }]));
/// # Ok::<(), selfsame_xstate::KvmRefusal>(())
/// ```
///
/// # Errors
///
/// What KVM answers EINVAL to; the first of several.
pub fn kvm_set_xsave(header: &Header, mxcsr: u32, vcpu: &KvmVcpu) -> Result<KvmLoaded, KvmRefusal> {
    if vcpu.supported.is_empty() {
        return set_fxsave(header, mxcsr, vcpu);
    }
    // XFD is applied first: what it disables is dropped even where it would be refused.
    let dropped = header.present().intersection(vcpu.xfd);
    let components = header.present().minus(vcpu.xfd);
    let unsupported = components.minus(vcpu.supported.intersection(vcpu.buffer));
    if !unsupported.is_empty() {
        return Err(KvmRefusal::Unsupported { components: unsupported });
    }
    if header.xcomp_bv != 0 {
        return Err(KvmRefusal::CompactionBits { xcomp_bv: header.xcomp_bv });
    }
    if header.reserved != [0; 6] {
        return Err(KvmRefusal::Reserved);
    }
    let is_looked_at = !components.intersection(ComponentSet::LEGACY.with(Component::AVX)).is_empty();
    if is_looked_at && !vcpu.mxcsr_mask.allows(mxcsr) {
        return Err(KvmRefusal::Mxcsr { mxcsr });
    }
    let (has_sse, has_avx) = (components.contains(Component::SSE), components.contains(Component::AVX));
    let is_changed = mxcsr != MXCSR_INITIAL;
    let has_pkru = vcpu.buffer.contains(Component::PKRU);
    let quirks = [
        (!dropped.is_empty()).then_some(KvmQuirk::XfdDropped { components: dropped }),
        (has_pkru && !components.contains(Component::PKRU)).then_some(KvmQuirk::PkruKept),
        (is_changed && !has_sse && !has_avx).then_some(KvmQuirk::MxcsrIgnored { mxcsr }),
        (is_changed && !has_sse && has_avx).then_some(KvmQuirk::MxcsrLostAtEntry { mxcsr }),
    ];
    let mxcsr = if has_sse || has_avx { mxcsr } else { MXCSR_INITIAL };
    Ok(KvmLoaded { components, mxcsr, quirks })
}

/// As [`kvm_set_xsave`], on a host without XSAVE.
fn set_fxsave(header: &Header, mxcsr: u32, vcpu: &KvmVcpu) -> Result<KvmLoaded, KvmRefusal> {
    let components = header.present().minus(ComponentSet::LEGACY);
    if !components.is_empty() {
        return Err(KvmRefusal::Unsupported { components });
    }
    if !vcpu.mxcsr_mask.allows(mxcsr) {
        return Err(KvmRefusal::Mxcsr { mxcsr });
    }
    Ok(KvmLoaded { components: ComponentSet::LEGACY, mxcsr, quirks: [None; 4] })
}

/// Returns the host's XCR0 that KVM_GET_XSAVE has written into the image's bytes 464 to 471, for software's use.
///
/// It makes images of one guest differ from host to host. Nobody reads it back, and canonical images have zeros there.
#[must_use]
pub fn kvm_host_mask(image: &Image<'_>) -> ComponentSet {
    let field = image.legacy().get(464..).and_then(|rest| rest.first_chunk());
    ComponentSet::from_bits(field.map_or(0, |field| u64::from_le_bytes(*field)))
}
