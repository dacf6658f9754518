//! Geometries and images out of an input.

use selfsame_xstate::{
    Component, ComponentSet, Format, Geometry, Header, Layout, LinearAddresses, MxcsrMask, Offsets, Reader,
};

use crate::bytes::Bytes;

/// A geometry that a guest can be given: of known components in a vendor's places, or in places of its own.
pub(crate) fn usable(input: &mut Bytes<'_>) -> Geometry {
    let (choice, user, supervisor) = (input.u8(), input.u32() | 3, input.u32());
    let offsets = if choice & 1 == 0 { Offsets::Intel } else { Offsets::Amd };
    let mut end_bytes = 576;
    let geometry = Geometry::read(|subleaf| match subleaf {
        0 => [user, 576, 0, 0],
        1 => [0xF, 576, supervisor, 0],
        _ if choice & 2 == 0 => [0; 4],
        _ => {
            let is_supervisor = u32::from(supervisor >> subleaf.min(31) & !user >> subleaf.min(31) & 1 == 1);
            let (size, gap) = (u32::from(input.u8()), u32::from(input.u8()));
            let size_bytes = known_size_bytes(subleaf).unwrap_or(size * 8);
            let offset_bytes = end_bytes + gap / 8 * 64;
            end_bytes = offset_bytes + size_bytes;
            [size_bytes, if is_supervisor == 1 { 0 } else { offset_bytes }, is_supervisor | gap & 2, 0]
        }
    });
    geometry.usable(offsets)
}

fn known_size_bytes(subleaf: u32) -> Option<u32> {
    Component::new(u8::try_from(subleaf).ok()?)?.described()?.size_bytes
}

/// A reader of a geometry's images, on behalf of a CPU that the input chooses.
pub(crate) fn reader<'g>(geometry: &'g Geometry, input: &mut Bytes<'_>) -> Reader<'g> {
    let choice = input.u8();
    let mxcsr_mask = if choice & 1 == 0 { MxcsrMask::COMMON } else { MxcsrMask::AMD };
    let addresses = if choice & 2 == 0 { LinearAddresses::Bits48 } else { LinearAddresses::Bits57 };
    let reader = Reader::new(geometry, geometry.components());
    reader.with_mxcsr_mask(mxcsr_mask).with_addresses(addresses)
}

/// Inputs for [`usable`], [`reader`] and an image, in both formats; `between` stands before the image.
pub(crate) fn seeds(between: &[u8]) -> Vec<Vec<u8>> {
    let sets: [(u32, u32); 4] = [(0x7, 0), (0x2E7, 0x1800), (0x21F, 0x100), (0x2_0207, 0xD800)];
    let mut seeds = Vec::new();
    for (choice, format) in
        [0, 1, 2, 3].into_iter().flat_map(|choice| [(choice, Format::Standard), (choice, Format::Compacted)])
    {
        for (user, supervisor) in sets {
            let places: &[u8] = if choice & 2 == 0 { &[] } else { &[8; 64] };
            let head = [[choice].as_slice(), &user.to_le_bytes(), &supervisor.to_le_bytes(), places].concat();
            let mut rest = Bytes::new(&head);
            let geometry = usable(&mut rest);
            let taken = head.len() - rest.rest().len();
            let head = head.get(..taken).unwrap_or_default();
            seeds.push([head, &[0], between, &image(&geometry, format)].concat());
        }
    }
    seeds
}

/// An image in which every component is present that may be.
fn image(geometry: &Geometry, format: Format) -> Vec<u8> {
    let set = match format {
        Format::Standard => geometry.user(),
        Format::Compacted => geometry.components(),
    };
    let layout = Layout::new(format, set | ComponentSet::LEGACY, geometry).expect("a usable geometry has a layout");
    let xcomp_bv = if format == Format::Compacted { 1 << 63 | layout.components().bits() } else { 0 };
    let header = Header { xstate_bv: set.bits(), xcomp_bv, ..Header::default() };
    let mut bytes = vec![0; layout.size_bytes().max(576) as usize];
    let mut put = |at: usize, value: &[u8]| {
        if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..value.len())) {
            place.copy_from_slice(value);
        }
    };
    put(0, &0x27F_u16.to_le_bytes());
    put(24, &0x1FA0_u32.to_le_bytes());
    put(160, &[0x55; 16]);
    put(512, &header.to_bytes());
    // Other components hold what registers take: zeros.
    for component in [Component::AVX, Component::OPMASK, Component::PKRU] {
        if let Some(offset_bytes) = layout.offset_bytes(component) {
            put(offset_bytes as usize, &[0x55; 4]);
        }
    }
    bytes
}
