//! The three readings of an image, in words and for programs: strict, hardware, KVM.

use std::fmt::{Debug, Display};

use selfsame_xstate::{
    ComponentSet, Format, Header, ImageFault, KvmVcpu, MXCSR_INITIAL, Reader, Restore, SaveMethod, hardware_fault,
    kvm_set_xsave,
};
use serde::Serialize;

use super::image_file::HostCpu;

/// What one reader says.
#[derive(Debug, Serialize)]
pub(super) struct Reading {
    /// Who reads.
    pub(super) reader: &'static str,
    /// Whether the image is taken.
    pub(super) accepted: bool,
    /// Every reason against it that the reader tells.
    pub(super) faults: Vec<Fault>,
    /// What the reader does otherwise than others with an image it takes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) quirks: Vec<Fault>,
}

/// A reason, by the name that the table in `docs/xstate.md` has for it.
#[derive(Debug, Serialize)]
pub(super) struct Fault {
    pub(super) name: String,
    pub(super) reason: String,
}

impl Fault {
    pub(super) fn of(fault: &(impl Debug + Display)) -> Self {
        Self { name: name_of(fault), reason: fault.to_string() }
    }
}

/// The name of an enumeration's variant; the innermost, where one only wraps another.
fn name_of(fault: &impl Debug) -> String {
    let text = format!("{fault:?}");
    let outer = ["Header(", "Layout("].iter().find_map(|wrapper| text.strip_prefix(wrapper));
    outer.unwrap_or(&text).chars().take_while(char::is_ascii_alphanumeric).collect()
}

impl Reading {
    fn of(reader: &'static str, faults: Vec<Fault>, quirks: Vec<Fault>) -> Self {
        Self { reader, accepted: faults.is_empty(), faults, quirks }
    }
}

/// Asks all readers on a host, which has enabled all it has.
pub(super) fn readings(bytes: &[u8], header: &Header, reader: &Reader<'_>, cpu: &HostCpu) -> Vec<Reading> {
    let geometry = &cpu.geometry;
    let (xcr0, xss) = (geometry.user() | ComponentSet::LEGACY, geometry.supervisor());
    let mxcsr =
        bytes.get(24..).and_then(|rest| rest.first_chunk()).map_or(MXCSR_INITIAL, |field| u32::from_le_bytes(*field));
    let hardware = |restore: Restore| {
        let restore = Restore { mxcsr_mask: cpu.mxcsr_mask, has_xsavec: geometry.has_xsavec(), ..restore };
        hardware_fault(header, mxcsr, &restore).iter().map(Fault::of).collect()
    };
    let strict = reader.faults(bytes).map(|fault: ImageFault| Fault::of(&fault)).collect();
    let missing = |name: &str| {
        vec![Fault { name: name.to_owned(), reason: "the cpu does not have the instruction: #UD".to_owned() }]
    };
    let method = SaveMethod::of(geometry);
    let xrstor = match method {
        SaveMethod::Fxsave => missing("NoXsave"),
        SaveMethod::Xsave | SaveMethod::Xsaves => hardware(Restore::xrstor(xcr0)),
    };
    let mut readings = vec![Reading::of("strict", strict, Vec::new()), Reading::of("xrstor", xrstor, Vec::new())];
    // It loads no other format, which is no fault of the image.
    if header.format() == Format::Compacted {
        let xrstors = match method {
            SaveMethod::Fxsave | SaveMethod::Xsave => missing("NoXsaves"),
            SaveMethod::Xsaves => hardware(Restore::xrstors(xcr0, xss)),
        };
        readings.push(Reading::of("xrstors", xrstors, Vec::new()));
    }
    let (faults, quirks) = match kvm_set_xsave(header, mxcsr, &KvmVcpu::with_everything(geometry, cpu.mxcsr_mask)) {
        Ok(loaded) => (Vec::new(), loaded.quirks().map(|quirk| Fault::of(&quirk)).collect()),
        Err(refusal) => (vec![Fault::of(&refusal)], Vec::new()),
    };
    readings.push(Reading::of("kvm", faults, quirks));
    readings
}
