//! Whatever bytes an image, a header, a geometry and a layout are made of: nothing panics, and the laws hold.

use proptest::prelude::*;
use selfsame_xstate::{
    ComponentSet, Format, Geometry, Header, ImageFault, KvmVcpu, Layout, LinearAddresses, MxcsrMask, Reader, Restore,
    WriteError, hardware_fault, kvm_host_mask, kvm_set_xsave,
};

mod images;

use images::Words;

fn edges() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        Just(0),
        Just(u32::MAX),
        0u32..3000,
        (0u32..64).prop_map(|n| n * 64 + 512),
        (u32::MAX - 64)..=u32::MAX
    ]
}

/// Leaf 0xD of a liar, with masks that are neither empty nor full for most.
fn geometries() -> impl Strategy<Value = Geometry> {
    prop::collection::vec(prop::array::uniform4(edges()), 63)
        .prop_map(|leaf| Geometry::read(|subleaf| leaf[subleaf as usize]))
}

/// An image of random bytes whose header is like one.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let mask =
        prop_oneof![any::<u64>(), (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(a, b, c)| a & b & c), Just(0)];
    let top = prop_oneof![Just(0u64), Just(1u64 << 63)];
    let reserved = prop_oneof![3 => Just([0u64; 6]), 1 => any::<[u64; 6]>()];
    (any::<u64>(), 0usize..6000, mask.clone(), mask, top, reserved).prop_map(
        |(seed, len, xstate_bv, xcomp_bv, top, reserved)| {
            let mut bytes = vec![0; len];
            Words::new(seed).fill(&mut bytes);
            let header = Header {
                xstate_bv: xstate_bv & xcomp_bv,
                xcomp_bv: if top == 0 { 0 } else { xcomp_bv | top },
                reserved,
            };
            if let Some(place) = bytes.get_mut(512..576) {
                place.copy_from_slice(&header.to_bytes());
            }
            if let Some(place) = bytes.get_mut(26..28) {
                place.fill(0);
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn nothing_panics(
        bytes in bytes(),
        from in geometries(),
        to in geometries(),
        xcr0: u64,
        xss: u64,
        set: u64,
        room in 0usize..12_000,
    ) {
        let sets = [xcr0, xss, set].map(ComponentSet::from_bits);
        let all = ComponentSet::from_bits(u64::MAX);
        for (xcr0, xss) in [(sets[0], sets[1]), (from.user(), from.supervisor()), (all, all)] {
            let reader = Reader::new(&from, xcr0 | xss).with_addresses(LinearAddresses::Bits57);
            let faults: Vec<ImageFault> = reader.faults(&bytes).collect();
            prop_assert!(faults.iter().all(|fault| !fault.to_string().is_empty()));
            prop_assert_eq!(reader.read(&bytes).is_ok(), faults.is_empty());
            prop_assert_eq!(reader.read_interface(&bytes).is_ok() && !faults.is_empty(), false);
            let Ok(sanitised) = reader.sanitise(&bytes) else { continue };
            let image = sanitised.image();
            prop_assert!(image.in_use().is_subset_of(image.present() | ComponentSet::LEGACY));
            prop_assert!(image.present().iter().all(|component| image.component(component).is_some()));
            let _ = (kvm_host_mask(image), image.to_fxsave());
            for (format, geometry) in [(Format::Standard, &from), (Format::Compacted, &from), (Format::Standard, &to), (Format::Compacted, &to)] {
                for set in [image.in_use() | ComponentSet::LEGACY, sets[2], geometry.components()] {
                    let Ok(layout) = Layout::new(format, set, geometry) else { continue };
                    let mut out = vec![0xA5; room];
                    match image.write(&layout, &mut out) {
                        Ok(len) => {
                            prop_assert_eq!(len, layout.size_bytes().max(576) as usize);
                            prop_assert!(out[len..].iter().all(|byte| *byte == 0xA5));
                            let reader = Reader::new(geometry, set).with_mxcsr_mask(MxcsrMask::from_field(u32::MAX)).with_addresses(LinearAddresses::Bits57);
                            let copy = reader.read(&out[..len]).unwrap();
                            prop_assert_eq!((copy.present(), copy.in_use(), copy.mxcsr()), (image.in_use(), image.in_use(), image.mxcsr()));
                        }
                        Err(error) => {
                            prop_assert!(out.iter().all(|byte| *byte == 0xA5), "{error}");
                            if let WriteError::TooSmall { needed_bytes, len_bytes } = error {
                                prop_assert!(needed_bytes as usize > len_bytes);
                            }
                        }
                    }
                }
            }
            if let Ok(size_bytes) = image.interface_size_bytes() && size_bytes < 20_000 {
                let mut out = vec![0; size_bytes as usize];
                prop_assert_eq!(image.write_interface(&mut out), Ok(out.len()));
            }
        }
    }

    #[test]
    fn no_header_panics(
        xstate_bv: u64,
        xcomp_bv: u64,
        reserved: [u64; 6],
        mxcsr: u32,
        masks: [u64; 4],
        mxcsr_mask: u32,
    ) {
        let header = Header { xstate_bv, xcomp_bv, reserved };
        let [xcr0, xss, requested, xfd] = masks.map(ComponentSet::from_bits);
        let mxcsr_mask = MxcsrMask::from_field(mxcsr_mask);
        for restore in [Restore::xrstor(xcr0), Restore::xrstors(xcr0, xss)] {
            let restore = Restore { requested, xfd, mxcsr_mask, ..restore };
            let fault = hardware_fault(&header, mxcsr, &restore);
            prop_assert!(fault.is_none_or(|fault| matches!(fault.vector(), 7 | 13) && !fault.to_string().is_empty()));
        }
        let vcpu = KvmVcpu { supported: xcr0, buffer: xss, xfd, mxcsr_mask };
        prop_assert!(kvm_set_xsave(&header, mxcsr, &vcpu).err().is_none_or(|refusal| !refusal.to_string().is_empty()));
    }
}
