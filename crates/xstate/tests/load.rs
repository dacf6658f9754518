//! Whether a guest may load an image on a host: refused exactly where reading, area or writing would fail.

use proptest::prelude::*;
use selfsame_xstate::{
    AreaError, Component, ComponentSet, Configurations, Format, Geometry, HeaderFault, ImageFault, LoadRefusal,
    MxcsrMask, Reader, WriteError,
};

mod images;
mod machines;

use images::{Style, Words, random_image};

fn set(bits: u64) -> ComponentSet {
    ComponentSet::from_bits(bits)
}

/// Hosts that keep different components in different places, one of them PKRU in twice the bytes.
fn hosts() -> [Geometry; 5] {
    let odd = machines::machine(0x990, &[(2, 256, 0x240, 0), (9, 16, 0x980, 0)]);
    let small = machines::machine(0x340, &[(2, 256, 0x240, 0)]);
    [machines::milan(), machines::genoa(), machines::sapphire_rapids(), odd, small]
}

#[test]
fn no_reason_hides_another() {
    let (from, to) = (machines::genoa(), machines::machine(0x990, &[(2, 256, 0x240, 0), (9, 16, 0x980, 0)]));
    let host = Configurations::new(&to).unwrap();
    let mut bytes = vec![0; 2440];
    bytes[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
    (bytes[512], bytes[513], bytes[560], bytes[2432]) = (0x21, 2, 1, 1);
    let refusals = |allowed| Reader::new(&from, set(allowed)).load_refusals(&bytes, &host).collect::<Vec<_>>();
    let tail = LoadRefusal::Image(HeaderFault::ReservedTail.into());
    let size = WriteError::SizeDiffers { component: Component::PKRU, from_bytes: 8, to_bytes: 16 };
    let opmask = HeaderFault::NotEnabled { components: Component::OPMASK.into() };
    assert_eq!(refusals(0x207), [ImageFault::from(opmask).into(), tail, size.into()]);
    // A policy that the host cannot keep is one reason, whatever is in use.
    let area = AreaError::NotOnHost { components: ComponentSet::AVX512 };
    assert_eq!(refusals(0x2E7), [tail, area.into()]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn refused_is_what_could_not_be_read_kept_or_written(
        from in 0..5usize,
        to in 0..5usize,
        is_compacted: bool,
        seed: u64,
        allowed: u64,
        change in prop::option::of((0..4096usize, any::<u8>())),
    ) {
        let (here, there) = (&hosts()[from], &hosts()[to]);
        let mut words = Words::new(seed);
        let format = if is_compacted { Format::Compacted } else { Format::Standard };
        let held = words.subset(here.components()) | ComponentSet::LEGACY;
        let mut bytes = random_image(here, format, held, Style::Clean, &mut words).unwrap();
        if let Some(byte) = change.and_then(|(at, byte)| Some((bytes.get_mut(at)?, byte))) {
            *byte.0 = byte.1;
        }
        let allowed = (here.components() & set(allowed | 0x207)) | ComponentSet::LEGACY;
        let reader = Reader::new(here, allowed).with_mxcsr_mask(MxcsrMask::AMD);
        let host = Configurations::new(there).unwrap();
        let refusals: Vec<LoadRefusal> = reader.load_refusals(&bytes, &host).collect();
        let written = || {
            let (image, area) = (reader.read(&bytes).ok()?, host.area(allowed, allowed).ok()?);
            image.write(area.layout(), &mut vec![0; area.size_bytes() as usize]).ok()
        };
        prop_assert_eq!(refusals.is_empty(), written().is_some(), "{:?}", refusals);
        prop_assert!(refusals.iter().all(|refusal| !refusal.to_string().is_empty()));
        let faults = refusals.iter().filter(|refusal| matches!(refusal, LoadRefusal::Image(_))).count();
        prop_assert_eq!(faults, reader.faults(&bytes).count());
    }
}
