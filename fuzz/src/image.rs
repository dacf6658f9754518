//! Images of extended state, by each of their readings.

use selfsame_xstate::{
    ComponentSet, Format, Geometry, Header, Image, ImageFault, KvmVcpu, MxcsrMask, Reader, Restore, hardware_fault,
    kvm_host_mask, kvm_set_xsave,
};

use crate::bytes::Bytes;
use crate::{Target, geometries};

/// The target.
pub const TARGET: Target = Target { name: "image", run, seeds, words: &[], max_len_bytes: 3072 };

/// Reads a geometry, the masks of a CPU, and an image.
pub fn run(bytes: &[u8]) {
    let mut input = Bytes::new(bytes);
    let geometry = geometries::usable(&mut input);
    let reader = geometries::reader(&geometry, &mut input);
    let restore = restore(&geometry, &mut input);
    let bytes = input.rest();
    let faults: Vec<ImageFault> = reader.faults(bytes).collect();
    assert!(faults.iter().all(|fault| !fault.to_string().is_empty()));
    let strict = reader.read(bytes);
    assert_eq!(strict.as_ref().err(), faults.first());
    if let Ok(image) = strict {
        assert_is_taken_by_all(&image, &geometry, bytes);
    }
    assert_is_mended(&reader, bytes, &faults);
    if let Some(header) = bytes.get(512..).and_then(|rest| rest.first_chunk()) {
        // These CPUs have other registers than the image is read for.
        let header = Header::from_bytes(header);
        let vcpu = KvmVcpu {
            supported: restore.xcr0,
            buffer: restore.requested,
            xfd: restore.xfd,
            mxcsr_mask: restore.mxcsr_mask,
        };
        let _ = (hardware_fault(&header, 0x1F80, &restore), kvm_set_xsave(&header, 0x1F80, &vcpu));
    }
}

/// XRSTOR or XRSTORS with the masks of the input.
fn restore(geometry: &Geometry, input: &mut Bytes<'_>) -> Restore {
    let [xcr0, requested, xfd] =
        [input.u16(), input.u16(), input.u16()].map(|bits| ComponentSet::from_bits(bits.into()));
    let whole = if input.u8() & 1 == 0 {
        Restore::xrstor(xcr0 | ComponentSet::LEGACY)
    } else {
        Restore::xrstors(xcr0 | ComponentSet::LEGACY, geometry.supervisor())
    };
    Restore { requested, xfd, ..whole }
}

/// What the strict reading takes loads without a fault, and KVM takes it where it takes such images at all.
fn assert_is_taken_by_all(image: &Image<'_>, geometry: &Geometry, bytes: &[u8]) {
    let header = bytes.get(512..).and_then(|rest| rest.first_chunk()).expect("what was read has a header");
    let header = Header::from_bytes(header);
    let restore = match image.format() {
        Format::Standard => Restore::xrstor(geometry.user()),
        Format::Compacted => Restore::xrstors(geometry.user(), geometry.supervisor()),
    };
    let restore = Restore { mxcsr_mask: MxcsrMask::AMD, ..restore };
    assert_eq!(hardware_fault(&header, image.mxcsr(), &restore), None);
    if image.format() == Format::Standard {
        let all = geometry.user();
        let vcpu = KvmVcpu { supported: all, buffer: all, xfd: ComponentSet::EMPTY, mxcsr_mask: MxcsrMask::AMD };
        let loaded = kvm_set_xsave(&header, image.mxcsr(), &vcpu).expect("kvm takes what the strict reading takes");
        assert_eq!(loaded.components, image.present());
    }
    for component in image.present() {
        assert!(image.component(component).is_some());
    }
    assert!(image.in_use().is_subset_of(image.present() | ComponentSet::LEGACY));
    let _ = (kvm_host_mask(image), image.to_fxsave());
}

/// What is mended is what is wrong, and only that makes the strict reading refuse; a mended image is written lawfully.
fn assert_is_mended(reader: &Reader<'_>, bytes: &[u8], faults: &[ImageFault]) {
    let sanitised = match reader.sanitise(bytes) {
        Ok(sanitised) => sanitised,
        Err(fault) => {
            assert!(!fault.is_mendable() && faults.contains(&fault));
            return;
        }
    };
    assert!(sanitised.mended().eq(faults.iter().copied()));
    assert!(faults.iter().all(ImageFault::is_mendable));
    let image = sanitised.image();
    let mut out = vec![0; image.interface_size_bytes().expect("a usable geometry has a layout") as usize];
    assert_eq!(image.write_interface(&mut out), Ok(out.len()));
    let mended = reader.read_interface(&out).expect("what was mended is lawful");
    assert_eq!((mended.in_use(), mended.mxcsr()), (image.in_use(), image.mxcsr()));
}

fn seeds() -> Vec<Vec<u8>> {
    geometries::seeds(&[0xE7, 2, 0xE7, 2, 0, 0, 0])
}
