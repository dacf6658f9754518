//! What decides what CPUID shows a PV guest, whose CPUID does not exit.

use core::fmt;

use selfsame_cpuid::{
    Capability, FaultingControl, Leaves, LevellingCapabilities, MaskMeaning, Word, WordSource, feature,
};

use crate::register::has_feature;
use crate::switcher::Switcher;
use crate::{Cpu, CpuidMask, Cr4, Msr, MsrWrite, Vcpu, VcpuKind};

/// How many masking MSRs a CPU has at most.
pub const MAX_MASKS: usize = 4;

/// One masking MSR of a platform.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mask {
    /// The MSR.
    pub msr: CpuidMask,
    /// What it held at boot: CPUID is unmasked, or as the firmware wants it.
    pub unmasked: u64,
}

/// The hardware that decides what CPUID shows PV guests, best first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Visibility {
    /// CPUID faults outside of ring 0, and the policy answers.
    Faulting(FaultingControl),
    /// Masking MSRs change what CPUID writes, vCPU by vCPU. Leaves and words that none covers are the machine's.
    Masks([Option<Mask>; MAX_MASKS]),
    /// Nothing does: a guest that asks with the forced-emulation prefix or a hypercall sees its policy, and one that executes
    /// CPUID sees the machine.
    Emulated,
}

impl Visibility {
    /// Chooses the best that the CPU which answers `raw` has. `probed` is what was found *by effect*: a hypervisor below may
    /// accept writes and do nothing. `unmasked` reads a masking MSR.
    ///
    /// ```
    /// use selfsame_cpuid::{Capability, Leaves, LevellingCapabilities};
    /// use selfsame_switch::Visibility;
    ///
    /// let mut ivy_bridge = Leaves::new();
    /// ivy_bridge.set_msr(0xce, 1 << 31)?;
    /// let mut probed = LevellingCapabilities::EMPTY;
    /// assert_eq!(Visibility::of(&ivy_bridge, probed, |_| 0), Visibility::Emulated, "told, but without effect");
    /// probed.insert(Capability::Faulting);
    /// assert!(matches!(Visibility::of(&ivy_bridge, probed, |_| 0), Visibility::Faulting(_)));
    /// # Ok::<(), selfsame_cpuid::OutsideModel>(())
    /// ```
    pub fn of(raw: &Leaves, probed: LevellingCapabilities, mut unmasked: impl FnMut(CpuidMask) -> u64) -> Self {
        if let Some(control) = FaultingControl::expected(raw)
            && probed.contains(Capability::Faulting)
        {
            return Self::Faulting(control);
        }
        let has_effect = |word| probed.contains(Capability::Mask(word));
        let mut works = CpuidMask::all().filter(|msr| msr.row().is_expected(raw) && msr.row().words().all(has_effect));
        let masks = [(); MAX_MASKS].map(|()| works.next().map(|msr| Mask { msr, unmasked: unmasked(msr) }));
        if masks.iter().any(Option::is_some) { Self::Masks(masks) } else { Self::Emulated }
    }

    /// Returns the words of which a PV guest with `policy` sees the machine's when it executes CPUID on the CPU that answers
    /// `raw`, although its policy says something else.
    pub fn unlevelled<'a>(&self, raw: &'a Leaves, policy: &'a Leaves) -> impl Iterator<Item = Word> + use<'a> {
        let visibility = *self;
        Word::all()
            .filter(|word| matches!(word.source(), WordSource::Cpuid { .. }))
            .filter(move |&word| raw.word(word) != policy.word(word) && !visibility.covers(word))
    }

    fn covers(&self, word: Word) -> bool {
        match self {
            Self::Faulting(_) => true,
            Self::Masks(masks) => {
                masks.iter().flatten().any(|mask| mask.msr.row().words().any(|masked| masked == word))
            }
            Self::Emulated => false,
        }
    }
}

/// What CPUID has to show one vCPU, in terms of the platform's [`Visibility`].
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Shown {
    /// Whether CPUID faults: always for PV guests but the one that manages the machine; for an HVM guest, whose CPUID exits
    /// anyway, as it asked for itself. (The fault comes before the exit: left on, it would reach an HVM guest's tasks.)
    pub is_faulting: bool,
    /// What the masking MSRs hold, in the platform's order.
    pub masks: [u64; MAX_MASKS],
}

impl Shown {
    /// What shows a PV guest its policy, while it has `guest_cr4` in its virtual CR4.
    ///
    /// `raw` is what the CPU answers without masks. HTT, X2APIC and CMP_LEGACY stay the machine's: leaves that no mask covers
    /// mean something else without them. APIC and OSXSAVE are dynamic: hardware shows APIC_BASE and CR4 of the *hypervisor*,
    /// as far as the mask has the bit. So OSXSAVE in the mask is what the guest has in its CR4, and changes with it.
    #[must_use]
    pub fn pv(visibility: &Visibility, raw: &Leaves, policy: &Leaves, guest_cr4: u64) -> Self {
        let masks = match visibility {
            Visibility::Masks(masks) => masks.map(|mask| mask.map_or(0, |mask| mask.value(raw, policy, guest_cr4))),
            Visibility::Faulting(_) | Visibility::Emulated => [0; MAX_MASKS],
        };
        Self { is_faulting: matches!(visibility, Visibility::Faulting(_)), masks }
    }
}

impl Mask {
    fn value(&self, raw: &Leaves, policy: &Leaves, guest_cr4: u64) -> u64 {
        let row = self.msr.row();
        let wanted = |word| u64::from(wanted(word, raw, policy, guest_cr4));
        // A half that belongs to no word stays as it was found.
        let high = row.high.map_or(self.unmasked >> 32, wanted);
        let value = wanted(row.low) | high << 32;
        match row.meaning {
            MaskMeaning::And => value & self.unmasked,
            MaskMeaning::Override => value,
        }
    }
}

/// Returns what a mask has to hold for a word, before what the firmware masks.
fn wanted(word: Word, raw: &Leaves, policy: &Leaves, guest_cr4: u64) -> u32 {
    let bit = |name| feature(name).filter(|row| row.place.word() == word).map_or(0, |row| row.place.mask());
    let machines = raw.word(word) & (bit("ht") | bit("x2apic") | bit("cmp-legacy"));
    let has_osxsave = guest_cr4 & Cr4::OSXSAVE != 0 && has_feature(policy, "xsave");
    let osxsave = if has_osxsave { bit("osxsave") } else { 0 };
    policy.word(word) & !bit("osxsave") | machines | osxsave
}

/// How often masking MSRs were written, and for how many switches to PV vCPUs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MaskWrites {
    /// Switches to PV vCPUs on hardware with masks.
    pub switches: u64,
    /// Writes of masking MSRs in them.
    pub writes: u64,
}

/// What an administrator should know of how CPUID is levelled for PV guests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum VisibilityWarning {
    /// From the configuration: nothing levels CPUID.
    NoHardware,
    /// From the configuration: the model is expected to have more than works.
    Missing(LevellingCapabilities),
    /// From the count: guests with different policies share CPUs, and every other switch or more writes a masking MSR.
    ManyWrites(MaskWrites),
}

impl fmt::Display for VisibilityWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHardware => f.write_str(
                "no faulting and no masks: a PV guest that executes CPUID sees the machine, and its policy only with the \
                 forced-emulation prefix or a hypercall",
            ),
            Self::Missing(missing) => write!(f, "levelling hardware that the model should have does not work: {missing}"),
            Self::ManyWrites(MaskWrites { switches, writes }) => write!(
                f,
                "{writes} writes of masking MSRs in {switches} switches to PV vCPUs: guests with different policies share \
                 CPUs; give them one level, or CPUs of their own",
            ),
        }
    }
}

impl Visibility {
    /// Returns what to tell the administrator at boot, of a platform that is to run PV guests. `raw` and `probed` are as for
    /// [`Visibility::of`].
    #[must_use]
    pub fn warning(&self, raw: &Leaves, probed: LevellingCapabilities) -> Option<VisibilityWarning> {
        let missing = LevellingCapabilities::expected(raw).minus(probed);
        match self {
            Self::Faulting(_) => None,
            Self::Emulated if missing.is_empty() => Some(VisibilityWarning::NoHardware),
            Self::Masks(_) | Self::Emulated => (!missing.is_empty()).then_some(VisibilityWarning::Missing(missing)),
        }
    }
}

impl MaskWrites {
    /// How many switches it takes for the count to mean anything.
    pub const ENOUGH_SWITCHES: u64 = 1000;

    /// Returns what to tell the administrator of the count.
    #[must_use]
    pub const fn warning(self) -> Option<VisibilityWarning> {
        let is_often = self.switches >= Self::ENOUGH_SWITCHES && self.writes >= self.switches / 2;
        if is_often { Some(VisibilityWarning::ManyWrites(self)) } else { None }
    }

    /// Adds the count of another CPU.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { switches: self.switches + other.switches, writes: self.writes + other.writes }
    }
}

impl Switcher<'_> {
    /// Returns how often masking MSRs were written on this CPU.
    #[must_use]
    pub const fn mask_writes(&self) -> MaskWrites {
        self.mask_writes
    }

    /// Has CPUID show this CPU as it is, for a hypervisor that is about to execute CPUID itself: masks hold for ring 0 too.
    /// The next switch to a PV vCPU puts its masks back; so does [`Switcher::refresh`].
    pub fn unmask(&mut self, cpu: &mut impl Cpu) {
        if let Visibility::Masks(masks) = self.platform.visibility {
            for (mask, shadow) in masks.into_iter().zip(&mut self.shadows.cpuid_masks) {
                if let Some(Mask { msr, unmasked }) = mask {
                    shadow.update(unmasked, |value| cpu.wrmsr(MsrWrite::new(Msr::CpuidMask(msr), value)));
                }
            }
        }
    }

    /// Has CPUID show the arriving vCPU what it has to see.
    pub(crate) fn show(&mut self, cpu: &mut impl Cpu, to: &Vcpu) {
        match self.platform.visibility {
            Visibility::Faulting(control) => {
                let msr = if control == FaultingControl::AMD { Msr::Hwcr } else { Msr::MiscFeaturesEnables };
                let rest = self.own.faulting_register & !(1 << control.bit);
                self.shadows.is_faulting.update(to.shown.is_faulting, |is_faulting| {
                    cpu.wrmsr(MsrWrite::new(msr, rest | u64::from(is_faulting) << control.bit));
                });
            }
            // CPUID of an HVM guest exits: masks matter to PV guests only.
            Visibility::Masks(masks) if to.kind() != VcpuKind::Hvm => {
                let values = to.shown.masks.into_iter().zip(&mut self.shadows.cpuid_masks);
                for (mask, (value, shadow)) in masks.into_iter().zip(values) {
                    let Some(Mask { msr, .. }) = mask else { continue };
                    let is_written = shadow.update(value, |value| cpu.wrmsr(MsrWrite::new(Msr::CpuidMask(msr), value)));
                    self.mask_writes.writes += u64::from(is_written);
                }
            }
            Visibility::Masks(_) | Visibility::Emulated => {}
        }
    }
}
