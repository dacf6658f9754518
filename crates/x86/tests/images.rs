//! This CPU's own images beside the computed ones.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use std::hint::black_box;
use std::io::Write;

use proptest::prelude::*;
use selfsame_x86::{Oracle, ThroughError};
use selfsame_xstate::{Component, ComponentSet, Format, Geometry, Image, Layout, Reader};

#[path = "../../xstate/tests/images/mod.rs"]
mod images;

use images::{Style, Words, random_image};

/// This CPU, or a loud skip.
fn oracle() -> Option<Oracle> {
    let oracle = Oracle::of_this_cpu();
    if oracle.is_none() {
        skipped("this machine has no XSAVE in user mode");
    }
    oracle
}

/// Not `eprintln`: the harness keeps what a passing test prints, and a skip must not look like a pass.
fn skipped(what: &str) {
    let _ = std::io::stderr().write_all(format!("SKIPPED: {what}\n").as_bytes());
}

fn formats(oracle: &Oracle) -> Vec<Format> {
    if oracle.geometry().has_xsavec() {
        return vec![Format::Standard, Format::Compacted];
    }
    skipped("compacted images, because this machine has no XSAVEC");
    vec![Format::Standard]
}

/// A random state of all that can be loaded here.
fn state(oracle: &Oracle, (seed, is_dirty, is_compacted): (u64, bool, bool)) -> Vec<u8> {
    let style = if is_dirty { Style::Dirty } else { Style::Clean };
    let format = if is_compacted { Format::Compacted } else { Format::Standard };
    random_image(oracle.geometry(), format, oracle.loadable(), style, &mut Words::new(seed)).unwrap()
}

fn written(image: &Image<'_>, layout: &Layout<'_>) -> Vec<u8> {
    let mut out = vec![0xFF; layout.size_bytes() as usize];
    assert_eq!(image.write(layout, &mut out), Ok(out.len()));
    out
}

fn range(layout: &Layout<'_>, component: Component) -> std::ops::Range<usize> {
    let range = layout.range_bytes(component).unwrap();
    range.start as usize..range.end as usize
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_cpu_saves_each_component_where_the_layout_has_it(kind: (u64, bool, bool), mask: u64) {
        let Some(oracle) = oracle() else { return Ok(()) };
        let bytes = state(&oracle, kind);
        let reader = oracle.reader();
        let image = reader.read(&bytes).unwrap();
        let mask = oracle.xcr0() & ComponentSet::from_bits(mask);
        for format in formats(&oracle) {
            let saved = oracle.through(&image, format, mask).unwrap();
            let layout = Layout::new(format, mask | ComponentSet::LEGACY, oracle.geometry()).unwrap();
            prop_assert_eq!(saved.bytes().len(), layout.size_bytes() as usize);
            prop_assert!(saved.behind().iter().all(|byte| *byte == Oracle::FILLER), "written behind the layout");
            let word = |at: usize| u64::from_le_bytes(saved.bytes()[at..at + 8].try_into().unwrap());
            let present = ComponentSet::from_bits(word(512));
            let places = match format {
                Format::Standard => 0,
                Format::Compacted => mask.bits() | 1 << 63,
            };
            prop_assert_eq!(word(520), places);
            // A CPU may save what is in its initial configuration, and has to save everything else.
            prop_assert!((image.in_use() & mask).without(Component::SSE).is_subset_of(present));
            prop_assert!(present.is_subset_of(mask));
            for component in present & image.present() {
                let loaded = image.component(component).unwrap();
                let used = component.described().and_then(|row| row.used_bytes).map_or(loaded.len(), |used| used as usize);
                // Pointers and MXCSR lie among the bytes of x87, and are not everywhere kept.
                let from = if component == Component::X87 { 32 } else { 0 };
                prop_assert_eq!(&saved.bytes()[range(&layout, component)][from..used], &loaded[from..used], "{}", component);
            }
        }
    }

    #[test]
    fn what_the_cpu_saves_in_either_format_is_one_canonical_image(kind: (u64, bool, bool)) {
        let Some(oracle) = oracle() else { return Ok(()) };
        let bytes = state(&oracle, kind);
        let reader = oracle.reader();
        let image = reader.read(&bytes).unwrap();
        let standard = Layout::new(Format::Standard, oracle.xcr0(), oracle.geometry()).unwrap();
        // XCOMP_BV has all of XCR0, whether it can be loaded here or not.
        let everything = Reader::new(oracle.geometry(), oracle.xcr0());
        let everything = everything.with_mxcsr_mask(oracle.mxcsr_mask());
        for format in formats(&oracle) {
            let saved = oracle.through(&image, format, oracle.xcr0()).unwrap();
            let saved = everything.read(saved.bytes()).unwrap();
            prop_assert_eq!((saved.mxcsr(), saved.in_use()), (image.mxcsr(), image.in_use()));
            prop_assert_eq!(written(&saved, &standard), written(&image, &standard), "{:?}", format);
        }
    }

    #[test]
    fn an_image_and_its_rewritings_load_to_the_same_registers(kind: (u64, bool, bool)) {
        let Some(oracle) = oracle() else { return Ok(()) };
        let bytes = state(&oracle, kind);
        let reader = oracle.reader();
        let image = reader.read(&bytes).unwrap();
        let mut rewritings = vec![bytes.clone()];
        for format in formats(&oracle) {
            let layout = Layout::new(format, oracle.loadable(), oracle.geometry()).unwrap();
            rewritings.push(written(&image, &layout));
        }
        let mut interface = vec![0; image.interface_size_bytes().unwrap() as usize];
        image.write_interface(&mut interface).unwrap();
        rewritings.push(interface);
        if !oracle.geometry().has_xsavec() {
            rewritings.retain(|bytes| bytes[527] == 0);
        }
        let saved = rewritings.iter().map(|bytes| {
            let saved = oracle.try_through(bytes, oracle.loadable(), Format::Standard, oracle.xcr0()).unwrap();
            // What a CPU makes of XINUSE may follow from how it was loaded.
            let reader = Reader::new(oracle.geometry(), oracle.xcr0());
            let reader = reader.with_mxcsr_mask(oracle.mxcsr_mask());
            let layout = Layout::new(Format::Standard, oracle.xcr0(), oracle.geometry()).unwrap();
            written(&reader.read(saved.bytes()).unwrap(), &layout)
        });
        let saved: Vec<_> = saved.collect();
        prop_assert!(saved.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn reserved_bits_of_x87_are_what_the_cpu_makes_of_them(seed: u64) {
        let Some(oracle) = oracle() else { return Ok(()) };
        let mut bytes = [0; 576];
        Words::new(seed).fill(&mut bytes[..160]);
        // Which CPUs keep the pointers, and when, differs.
        bytes[6..24].fill(0);
        bytes[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
        bytes[512] = 1;
        let reader = oracle.reader();
        let image = reader.read(&bytes).unwrap();
        let saved = oracle.try_through(&bytes, ComponentSet::LEGACY, Format::Standard, ComponentSet::LEGACY).unwrap();
        let saved = reader.read(saved.bytes()).unwrap();
        let layout = Layout::new(Format::Standard, ComponentSet::LEGACY, oracle.geometry()).unwrap();
        let wanted = written(&image, &layout);
        prop_assert_eq!(&written(&saved, &layout), &wanted);
        // The CPU's own bytes, not only what is made of them.
        let own = saved.component(Component::X87).unwrap();
        prop_assert_eq!((&own[..24], &own[32..]), (&wanted[..24], &wanted[32..160]));
    }
}

#[test]
fn the_callers_registers_survive() {
    let Some(oracle) = oracle() else { return };
    let held = black_box((1.0f64 / 3.0, [0.1f32, 0.2, 0.3, 0.4]));
    let reader = oracle.reader();
    for seed in 0..200 {
        let bytes = state(&oracle, (seed, true, false));
        oracle.through(&reader.read(&bytes).unwrap(), Format::Standard, oracle.xcr0()).unwrap();
        // With the exceptions of a random MXCSR unmasked, either would be a signal.
        assert!((black_box(held.0) * 3.0 - 1.0).abs() < 1e-9 && black_box(1.0f64) / black_box(0.0) > 1e300);
        assert_eq!(black_box(held).1, [0.1, 0.2, 0.3, 0.4]);
    }
}

#[test]
fn what_cannot_be_loaded_is_refused_before() {
    let Some(oracle) = oracle() else { return };
    // A CPU of another kind, with a component that XCR0 here has not.
    let geometry = Geometry::read(|subleaf| match subleaf {
        0 => [3, 576, 640, 1 << 28],
        60 => [64, 576, 0, 0],
        _ => [0; 4],
    });
    let mut bytes = [0; 640];
    bytes[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
    (bytes[519], bytes[576]) = (1 << 4, 1);
    let image = Reader::new(&geometry, geometry.user()).read(&bytes).unwrap();
    let components = ComponentSet::from(Component::new(60).unwrap());
    let refused = oracle.through(&image, Format::Standard, oracle.xcr0());
    assert_eq!(refused.map(|_| ()), Err(ThroughError::NotHere { components }));
}
