//! The check at boot that sizes are computed as the CPU computes them.

use core::fmt;

use crate::component::{SUPERVISOR_BITS, TABLE};
use crate::{ComponentSet, Geometry, LayoutError, Xcr0, Xss};

/// What a CPU says of its current state: CPUID leaf 0xD while XCR0 and IA32_XSS have some values.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ReportedSizes {
    /// The standard size: 0xD.0.EBX.
    pub standard_bytes: u32,
    /// The compacted size: 0xD.1.EBX, zero where the CPU has neither XSAVEC nor XSAVES.
    pub compacted_bytes: u32,
}

/// Which of a CPU's sizes is meant.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SizeField {
    /// Standard, for everything the CPU has: 0xD.0.ECX.
    Maximum,
    /// Standard, for the current XCR0: 0xD.0.EBX.
    Standard,
    /// Compacted, for the current XCR0 and IA32_XSS: 0xD.1.EBX.
    Compacted,
}

impl fmt::Display for SizeField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Maximum => "0xd.0.ecx",
            Self::Standard => "0xd.0.ebx",
            Self::Compacted => "0xd.1.ebx",
        })
    }
}

/// A size that the CPU reports otherwise than it is computed here.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SizeDisagreement {
    /// The size.
    pub field: SizeField,
    /// XCR0 while it was read.
    pub xcr0: Xcr0,
    /// IA32_XSS while it was read.
    pub xss: Xss,
    /// What was computed.
    pub computed_bytes: u32,
    /// What the CPU reported.
    pub reported_bytes: u32,
}

impl fmt::Display for SizeDisagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, xcr0, xss, computed_bytes, reported_bytes } = self;
        let (xcr0, xss) = (xcr0.bits(), xss.bits());
        write!(f, "{field} with xcr0 {xcr0:#x} and xss {xss:#x}: {reported_bytes} bytes, computed {computed_bytes}")
    }
}

/// Every state but the first adds a component of the table, supervisor components do so twice, and each state can disagree in
/// two sizes; the maximum is looked at once.
const MOST: usize = 2 * (2 * TABLE.len() + 1) + 1;

/// The outcome of [`cross_check`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CrossCheck {
    /// How many states were compared.
    states: usize,
    found: [Option<SizeDisagreement>; MOST],
}

impl CrossCheck {
    /// Tells whether all sizes agree.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.disagreements().next().is_none()
    }

    /// Iterates over every disagreement, in the order in which they were found.
    pub fn disagreements(&self) -> impl Iterator<Item = SizeDisagreement> + '_ {
        self.found.iter().flatten().copied()
    }

    /// Returns how many pairs of XCR0 and IA32_XSS were compared.
    #[must_use]
    pub const fn states(&self) -> usize {
        self.states
    }
}

/// Compares computed sizes with those that a CPU, or the hypervisor below, reports.
///
/// `cpu` is the CPU's own geometry, not narrowed. For each pair that is asked for, `reported` writes XCR0 and IA32_XSS and
/// reads leaf 0xD; the caller puts both registers back afterwards. XCR0 grows by ascending component, in whole groups, up to all of
/// `enabled` ([`Configuration::max`](crate::Configuration::max) of the host's kernel, usually) with IA32_XSS zero. With XSAVES
/// IA32_XSS then grows likewise, twice: next to x87 alone, where no later component's alignment can hide the size of what is
/// added, and next to all of XCR0. Components that the table does not name are left out, and a CPU without XSAVE is asked
/// nothing.
///
/// Linux does without XSAVE where sizes disagree; openvmm issue 708 was such a hypervisor.
///
/// ```
/// use selfsame_xstate::{Geometry, ReportedSizes, SizeField, cross_check};
///
/// let cpu = Geometry::read(|subleaf| match subleaf {
///     0 => [0x7, 0x240, 0x340, 0],
///     1 => [0xF, 0x240, 0, 0],
///     2 => [256, 576, 0, 0],
///     _ => [0; 4],
/// });
/// // A hypervisor that always reports the sizes after RESET.
/// let stale = ReportedSizes { standard_bytes: 576, compacted_bytes: 576 };
/// let check = cross_check(&cpu, cpu.user(), |_, _| stale)?;
/// assert_eq!(check.states(), 3);
/// assert!(check.disagreements().map(|wrong| wrong.field).eq([SizeField::Standard, SizeField::Compacted]));
/// # Ok::<(), selfsame_xstate::LayoutError>(())
/// ```
///
/// # Errors
///
/// Names the first component of the CPU that has no row or ends beyond 4 GiB: nothing can be computed then.
pub fn cross_check(
    cpu: &Geometry,
    enabled: ComponentSet,
    mut reported: impl FnMut(Xcr0, Xss) -> ReportedSizes,
) -> Result<CrossCheck, LayoutError> {
    let mut check = CrossCheck { states: 0, found: [None; MOST] };
    check.compare(SizeDisagreement {
        field: SizeField::Maximum,
        xcr0: Xcr0::RESET,
        xss: Xss::RESET,
        computed_bytes: cpu.standard_size(cpu.user() & ComponentSet::ALL)?,
        reported_bytes: cpu.reported_standard_size(),
    });
    let user = cpu.user() & enabled & ComponentSet::USER;
    let supervisor = cpu.supervisor() & enabled & ComponentSet::from_bits(SUPERVISOR_BITS);
    if cpu.user().is_empty() {
        return Ok(check);
    }
    let mut xcr0 = Xcr0::RESET;
    check.compare_at(cpu, xcr0, Xss::RESET, &mut reported)?;
    for component in user {
        // What XSETBV refuses next to the rest, APX next to MPX, stays out.
        let Ok(wider) = Xcr0::new(xcr0.components().with(component).with_partners().bits(), user) else { continue };
        if wider != xcr0 {
            xcr0 = wider;
            check.compare_at(cpu, xcr0, Xss::RESET, &mut reported)?;
        }
    }
    for xcr0 in [Xcr0::RESET, xcr0].into_iter().filter(|_| cpu.has_xsaves()) {
        let mut xss = ComponentSet::EMPTY;
        for component in supervisor {
            xss.insert(component);
            check.compare_at(cpu, xcr0, Xss::of_supervisor(xss), &mut reported)?;
        }
    }
    Ok(check)
}

impl CrossCheck {
    fn compare_at(
        &mut self,
        cpu: &Geometry,
        xcr0: Xcr0,
        xss: Xss,
        reported: &mut impl FnMut(Xcr0, Xss) -> ReportedSizes,
    ) -> Result<(), LayoutError> {
        let said = reported(xcr0, xss);
        let standard_bytes = cpu.standard_size(xcr0.components())?;
        let compacted_bytes = if cpu.has_xsavec() || cpu.has_xsaves() {
            cpu.compacted_size(xcr0.components() | xss.components())?
        } else {
            0
        };
        self.states += 1;
        for (field, computed_bytes, reported_bytes) in [
            (SizeField::Standard, standard_bytes, said.standard_bytes),
            (SizeField::Compacted, compacted_bytes, said.compacted_bytes),
        ] {
            self.compare(SizeDisagreement { field, xcr0, xss, computed_bytes, reported_bytes });
        }
        Ok(())
    }

    fn compare(&mut self, disagreement: SizeDisagreement) {
        if disagreement.computed_bytes == disagreement.reported_bytes {
            return;
        }
        if let Some(free) = self.found.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(disagreement);
        }
    }
}
