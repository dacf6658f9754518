//! Segment registers and their bases, put on and taken off.

use crate::switcher::{Switched, Switcher};
use crate::{Cpu, Cr4, Occupancy, Register, RegisterSet, Segment, SegmentFault, Selector, Vcpu, VcpuKind};

/// The bases that segment loads change, and that follow them therefore.
pub(crate) const BASES: RegisterSet = RegisterSet::EMPTY.with(Register::FsBase).with(Register::GsBase);

impl Switcher<'_> {
    /// Reads the segments of a PV guest, and the bases of a 64-bit one.
    pub(crate) fn take_off_segments(&mut self, cpu: &mut impl Cpu, from: &mut Vcpu, next_cr4: Cr4) {
        for segment in Segment::ALL {
            let selector = cpu.selector(segment);
            from.selectors.set(segment, selector);
            self.shadows.selectors[segment as usize].found(selector);
        }
        if from.kind() == VcpuKind::Pv32 {
            // Its bases are those of its descriptors: they come with the selectors.
            BASES.for_each(|register| self.shadows.registers[register.index()].forget());
            return;
        }
        // A guest without FSGSBASE still changes bases, by loading selectors; but under its CR4 they cannot be read.
        if self.own.cr4.has_fsgsbase() && !self.shadows.cr4.get().is_some_and(Cr4::has_fsgsbase) {
            let cr4 = if next_cr4.has_fsgsbase() { next_cr4 } else { self.own.cr4 };
            self.shadows.cr4.update(cr4, |cr4| cpu.write_cr4(cr4));
        }
        BASES.for_each(|register| {
            let base = cpu.read_base(register);
            from.registers.set(register, base);
            self.shadows.registers[register.index()].found(base);
        });
    }

    /// Loads the segments of a PV guest, and the bases of a 64-bit one.
    pub(crate) fn put_on_segments(&mut self, cpu: &mut impl Cpu, to: &mut Vcpu) -> Switched {
        let mut switched = Switched::default();
        match to.kind().occupancy(self.platform.virtualisation) {
            Occupancy::Pv => {
                for segment in Segment::ALL {
                    let wanted = to.selectors.get(segment);
                    if self.load_segment(cpu, segment, wanted).is_err() {
                        switched.refused.set(segment, wanted);
                        to.selectors.set(segment, Selector::NULL);
                    }
                }
                if to.kind() == VcpuKind::Pv64 {
                    self.write_vcpus(cpu, to, BASES);
                }
            }
            // #VMEXIT reads the descriptors of DS and ES again, and shuts the machine down if they are not there: a PV guest's
            // selectors must not be in them at VMRUN (APM vol. 2, 15.6).
            Occupancy::Svm => {
                for segment in [Segment::Ds, Segment::Es] {
                    self.load_null(cpu, segment, Selector::NULL);
                }
            }
            Occupancy::Vmx | Occupancy::Idle => {}
        }
        switched
    }

    /// Loads a segment register; after a fault it is null.
    fn load_segment(&mut self, cpu: &mut impl Cpu, segment: Segment, wanted: Selector) -> Result<(), SegmentFault> {
        if wanted.is_null() {
            self.load_null(cpu, segment, wanted);
            return Ok(());
        }
        // A selector that is not null is always loaded: the same number selects another descriptor in other tables.
        let loaded = cpu.load_selector(segment, wanted);
        if loaded.is_err() {
            self.load_null(cpu, segment, Selector::NULL);
            return loaded;
        }
        self.shadows.selectors[segment as usize].found(wanted);
        if let Some(base) = base(segment) {
            self.shadows.registers[base.index()].forget();
        }
        Ok(())
    }

    /// Loads one of the four null selectors.
    fn load_null(&mut self, cpu: &mut impl Cpu, segment: Segment, null: Selector) {
        let is_loaded = self.shadows.selectors[segment as usize].update(null, |null| {
            // No table is looked at: a null selector does not fault in these registers.
            _ = cpu.load_selector(segment, null);
        });
        if is_loaded && let Some(base) = base(segment) {
            let shadow = &mut self.shadows.registers[base.index()];
            if self.platform.clears_null_base { shadow.found(0) } else { shadow.forget() }
        }
    }
}

/// Returns the register that the segment's base is in.
const fn base(segment: Segment) -> Option<Register> {
    match segment {
        Segment::Fs => Some(Register::FsBase),
        Segment::Gs => Some(Register::GsBase),
        Segment::Ds | Segment::Es => None,
    }
}
