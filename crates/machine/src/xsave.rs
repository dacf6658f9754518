//! The instructions that save and restore extended state (SDM vol. 1, chapter 13; APM vol. 2, 11.5).

use selfsame_xstate::{Component, ComponentSet, Format, LEGACY_BYTES, Layout};

use crate::XfdErrUpdate;
use crate::extended::{MXCSR_INIT, XrstorInfo};
use crate::fault::{Exit, Fault, GpCause, HeaderCause, NmCause, UdCause};
use crate::image::{Area, COMPACTED};
use crate::ledger::What;
use crate::processor::{Cr4, Processor};

/// The components whose bytes include MXCSR in the standard format (SDM vol. 1, 13.5.2).
const WITH_MXCSR: ComponentSet = ComponentSet::from_bits(0b110);

/// The saving instructions of the XSAVE family.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Save {
    Xsave,
    Xsaveopt,
    Xsaves,
}

/// The restoring ones.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Restore {
    Xrstor,
    Xrstors,
}

impl Processor<'_> {
    /// XSAVE: writes every component of `mask` that XCR0 enables into the area at `linear`, in the standard format.
    ///
    /// # Errors
    ///
    /// #UD without XSAVE or with CR4.OSXSAVE clear, #NM with CR0.TS set, #GP for an address that is no multiple of 64, #PF for
    /// an area that is absent or too small; of these in turn.
    pub fn xsave(&mut self, linear: u64, mask: u64) -> Result<(), Fault> {
        self.save(Save::Xsave, self.hardware.has_xsave(), linear, mask)
    }

    /// XSAVEOPT: as XSAVE, without the components that are initial, or unmodified since they were loaded from there.
    ///
    /// # Errors
    ///
    /// As [`Processor::xsave`].
    pub fn xsaveopt(&mut self, linear: u64, mask: u64) -> Result<(), Fault> {
        self.save(Save::Xsaveopt, self.hardware.has_xsaveopt(), linear, mask)
    }

    /// XSAVES: as XSAVEOPT, in the compacted format, also what IA32_XSS enables.
    ///
    /// # Errors
    ///
    /// As [`Processor::xsave`]; #GP outside ring 0; a VM exit for components of the XSS-exiting bitmap.
    pub fn xsaves(&mut self, linear: u64, mask: u64) -> Result<(), Fault> {
        self.save(Save::Xsaves, self.hardware.has_xsaves(), linear, mask)
    }

    /// XRSTOR: loads the components of `mask` that XCR0 enables, and initialises those that the image does not have.
    ///
    /// # Errors
    ///
    /// As [`Processor::xsave`]; #GP for a header or an MXCSR that the CPU refuses; #NM for a component in use that XFD
    /// disables.
    pub fn xrstor(&mut self, linear: u64, mask: u64) -> Result<(), Fault> {
        self.restore(Restore::Xrstor, self.hardware.has_xsave(), linear, mask)
    }

    /// XRSTORS: as XRSTOR, from the compacted format only, also what IA32_XSS enables.
    ///
    /// # Errors
    ///
    /// As [`Processor::xrstor`]; #GP outside ring 0; a VM exit for components of the XSS-exiting bitmap.
    pub fn xrstors(&mut self, linear: u64, mask: u64) -> Result<(), Fault> {
        self.restore(Restore::Xrstors, self.hardware.has_xsaves(), linear, mask)
    }

    /// FXSAVE: writes x87, SSE and MXCSR.
    ///
    /// # Errors
    ///
    /// #NM with CR0.TS set; #PF for an area that is absent or too small.
    pub fn fxsave(&mut self, linear: u64) -> Result<(), Fault> {
        self.check_task_switched()?;
        self.check_room(linear, LEGACY_BYTES)?;
        self.write_bytes(linear, ComponentSet::LEGACY)?;
        self.write_mxcsr(linear)
    }

    /// FXRSTOR: loads x87, SSE and MXCSR.
    ///
    /// # Errors
    ///
    /// As [`Processor::fxsave`]; #GP for an MXCSR with reserved bits.
    pub fn fxrstor(&mut self, linear: u64) -> Result<(), Fault> {
        self.check_task_switched()?;
        let area = self.area(linear)?.clone();
        check_mxcsr(area.contents.mxcsr)?;
        self.cpu.extended.contents.mxcsr = area.contents.mxcsr;
        for component in ComponentSet::LEGACY {
            self.load(component, &area);
            self.cpu.extended.modified.insert(component);
        }
        Ok(())
    }

    /// FNINIT: initialises the control registers and pointers of the x87 FPU; the data registers keep their contents.
    ///
    /// # Errors
    ///
    /// #NM with CR0.TS set.
    pub fn fninit(&mut self) -> Result<(), Fault> {
        self.check_task_switched()?;
        let state = &mut self.cpu.extended;
        state.contents.fp_pointers = 0;
        state.set_fp_exception(false);
        state.modified.insert(Component::X87);
        Ok(())
    }

    /// FNCLEX, FFREE and FILD of the hypervisor's: clears pending exceptions and leaves `pointers` in FIP and FDP.
    ///
    /// This is how the previous owner's pointers are wiped on CPUs that do not restore them (XSA-52).
    ///
    /// # Errors
    ///
    /// #NM with CR0.TS set.
    pub fn replace_fp_pointers(&mut self, pointers: u64) -> Result<(), Fault> {
        self.check_task_switched()?;
        let state = &mut self.cpu.extended;
        state.contents.fp_pointers = pointers;
        state.set_fp_exception(false);
        state.modified.insert(Component::X87);
        Ok(())
    }

    fn save(&mut self, save: Save, is_present: bool, linear: u64, mask: u64) -> Result<(), Fault> {
        let is_supervisor = save == Save::Xsaves;
        let requested = self.requested(is_present, is_supervisor, mask)?;
        let format = if is_supervisor { Format::Compacted } else { Format::Standard };
        self.check_aligned(linear)?;
        self.check_room(linear, self.size_bytes(format, requested))?;

        let state = &self.cpu.extended;
        let mut in_use = state.in_use(requested) - self.cpu.xfd;
        if is_supervisor && requested.contains(Component::SSE) && state.contents.mxcsr != MXCSR_INIT {
            in_use.insert(Component::SSE);
        }
        let xcomp_bv = if is_supervisor { COMPACTED | requested.bits() } else { 0 };
        let written = match save {
            Save::Xsave => requested,
            _ if state.xrstor_info == Some(self.xrstor_info(linear, xcomp_bv)) => in_use & state.modified,
            _ => in_use,
        };

        self.write_bytes(linear, written)?;
        if if is_supervisor { written.contains(Component::SSE) } else { !(requested & WITH_MXCSR).is_empty() } {
            self.write_mxcsr(linear)?;
        }
        let area = self.area_mut(linear)?;
        area.xstate_bv = match save {
            Save::Xsaves => in_use.bits(),
            _ => area.xstate_bv & !requested.bits() | in_use.bits(),
        };
        if is_supervisor {
            area.xcomp_bv = xcomp_bv;
        }
        // Only XSAVE writes what is initial, and what XFD disables as if it were.
        if save == Save::Xsave {
            for component in requested - in_use {
                area.contents.set(component, 0);
            }
        }
        Ok(())
    }

    fn restore(&mut self, restore: Restore, is_present: bool, linear: u64, mask: u64) -> Result<(), Fault> {
        let is_supervisor = restore == Restore::Xrstors;
        let requested = self.requested(is_present, is_supervisor, mask)?;
        self.check_aligned(linear)?;
        let area = self.area(linear)?.clone();
        self.check_header(restore, &area)?;
        let format = if area.is_compacted() { Format::Compacted } else { Format::Standard };
        self.check_room(linear, self.size_bytes(format, area.in_use() & requested))?;

        let loaded = requested & area.in_use();
        let disabled = loaded & self.cpu.xfd;
        if !disabled.is_empty() {
            return Err(self.raise_disabled(disabled));
        }
        let mxcsr = if area.is_compacted() {
            if loaded.contains(Component::SSE) { area.contents.mxcsr } else { MXCSR_INIT }
        } else {
            area.contents.mxcsr
        };
        let has_mxcsr = if area.is_compacted() { ComponentSet::EMPTY.with(Component::SSE) } else { WITH_MXCSR };
        if !(requested & has_mxcsr).is_empty() {
            check_mxcsr(mxcsr)?;
            self.cpu.extended.contents.mxcsr = mxcsr;
        }
        for component in requested {
            if loaded.contains(component) {
                self.load(component, &area);
            } else {
                self.cpu.extended.initialise(component, self.hardware.keeps_fp_error_pointers());
            }
        }
        self.cpu.extended.xrstor_info = Some(self.xrstor_info(linear, area.xcomp_bv));
        self.cpu.extended.modified = ComponentSet::ALL - requested;
        Ok(())
    }

    /// The components that an instruction works on: RFBM (SDM vol. 1, 13.4.2).
    fn requested(&self, is_present: bool, is_supervisor: bool, mask: u64) -> Result<ComponentSet, Fault> {
        if !is_present {
            return Err(Fault::UndefinedOpcode(UdCause::Absent));
        }
        self.check_osxsave()?;
        self.check_task_switched()?;
        if !is_supervisor {
            return Ok(ComponentSet::from_bits(mask) & self.cpu.xcr0);
        }
        self.check_ring_0()?;
        let exiting = ComponentSet::from_bits(mask) & self.cpu.xss & self.cpu.xss_exiting();
        if !exiting.is_empty() {
            return Err(Fault::Exit(Exit::Xss(exiting)));
        }
        Ok(ComponentSet::from_bits(mask) & (self.cpu.xcr0 | self.cpu.xss))
    }

    fn check_header(&self, restore: Restore, area: &Area) -> Result<(), Fault> {
        let is_readable = match restore {
            Restore::Xrstors => area.is_compacted(),
            Restore::Xrstor => area.xcomp_bv == 0 || area.is_compacted() && self.hardware.geometry().has_xsavec(),
        };
        if !is_readable {
            return Err(HeaderCause::Format.into());
        }
        let enabled = match restore {
            Restore::Xrstors => self.cpu.xcr0 | self.cpu.xss,
            Restore::Xrstor => self.cpu.xcr0,
        };
        let places = if area.is_compacted() { area.components() } else { enabled };
        if !places.is_subset_of(enabled) {
            return Err(HeaderCause::XcompBv(places - enabled).into());
        }
        let in_use = ComponentSet::from_bits(area.xstate_bv);
        if !in_use.is_subset_of(places) {
            return Err(HeaderCause::XstateBv(in_use - places).into());
        }
        Ok(())
    }

    /// Raises #NM by XFD, and notes the components in IA32_XFD_ERR.
    pub(crate) fn raise_disabled(&mut self, components: ComponentSet) -> Fault {
        self.cpu.xfd_err = match self.hardware.xfd_err_update() {
            XfdErrUpdate::Added => self.cpu.xfd_err | components,
            XfdErrUpdate::Loaded => components,
        };
        self.raise_not_available(NmCause::Disabled(components))
    }

    /// Writes the bytes of components, and of the pointers with x87, into the area.
    fn write_bytes(&mut self, linear: u64, written: ComponentSet) -> Result<(), Fault> {
        let contents = self.cpu.extended.contents.clone();
        let writes_pointers = contents.has_fp_exception || !self.hardware.keeps_fp_error_pointers();
        let area = self.area_mut(linear)?;
        for component in written {
            area.contents.set(component, contents.get(component));
        }
        if written.contains(Component::X87) {
            (area.contents.has_fp_exception, area.contents.is_es_set) = (contents.has_fp_exception, contents.is_es_set);
            if writes_pointers {
                area.contents.fp_pointers = contents.fp_pointers;
            }
        }
        self.cpu.ledger.record(What::SavedComponents, 0, written.bits());
        Ok(())
    }

    fn write_mxcsr(&mut self, linear: u64) -> Result<(), Fault> {
        let mxcsr = self.cpu.extended.contents.mxcsr;
        self.area_mut(linear)?.contents.mxcsr = mxcsr;
        Ok(())
    }

    /// Loads one component from an image.
    fn load(&mut self, component: Component, area: &Area) {
        let state = &mut self.cpu.extended;
        state.contents.set(component, area.contents.get(component));
        if component == Component::X87 {
            state.set_fp_exception(area.contents.has_fp_exception);
            if area.contents.has_fp_exception || !self.hardware.keeps_fp_error_pointers() {
                state.contents.fp_pointers = area.contents.fp_pointers;
            }
        }
    }

    fn xrstor_info(&self, linear: u64, xcomp_bv: u64) -> XrstorInfo {
        XrstorInfo { cpl: self.cpu.cpl, is_non_root: self.cpu.is_non_root(), linear, xcomp_bv }
    }

    fn size_bytes(&self, format: Format, set: ComponentSet) -> u32 {
        let least = selfsame_xstate::EXTENDED_START_BYTES;
        Layout::new(format, set, self.hardware.geometry()).map_or(u32::MAX, |layout| layout.size_bytes().max(least))
    }

    fn area(&self, linear: u64) -> Result<&Area, Fault> {
        self.memory.area(linear).ok_or(Fault::PageFault { linear })
    }

    fn area_mut(&mut self, linear: u64) -> Result<&mut Area, Fault> {
        self.memory.area_mut(linear).ok_or(Fault::PageFault { linear })
    }

    fn check_room(&self, linear: u64, size_bytes: u32) -> Result<(), Fault> {
        let capacity_bytes = self.area(linear)?.capacity_bytes;
        if size_bytes <= capacity_bytes {
            Ok(())
        } else {
            Err(Fault::PageFault { linear: linear.wrapping_add(u64::from(capacity_bytes)) })
        }
    }

    fn check_aligned(&self, linear: u64) -> Result<(), Fault> {
        if linear.is_multiple_of(64) { Ok(()) } else { Err(Fault::GeneralProtection(GpCause::Misaligned { linear })) }
    }

    pub(crate) fn check_osxsave(&self) -> Result<(), Fault> {
        if self.cpu.cr4.contains(Cr4::OSXSAVE) { Ok(()) } else { Err(Fault::UndefinedOpcode(UdCause::NoOsxsave)) }
    }

    pub(crate) fn check_task_switched(&self) -> Result<(), Fault> {
        if self.cpu.is_task_switched { Err(self.raise_not_available(NmCause::TaskSwitched)) } else { Ok(()) }
    }
}

fn check_mxcsr(mxcsr: u32) -> Result<(), Fault> {
    /// AMD's largest; Intel has no bit 17.
    const DEFINED: u32 = 0x2_FFFF;
    if mxcsr & !DEFINED == 0 { Ok(()) } else { Err(Fault::GeneralProtection(GpCause::Mxcsr(mxcsr))) }
}
