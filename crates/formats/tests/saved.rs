//! Extended state in the files of others: where it is found, and what the files tell of the CPU that saved it.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

#[path = "../../xstate/tests/images/mod.rs"]
mod images;
#[path = "../../xstate/tests/machines/mod.rs"]
mod machines;
mod saved_files;

use std::io::{Cursor, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use selfsame_formats::saved::{self, Evidence, Saved, SavedError, SavedFile, SavedFormat, SavedState};
use selfsame_xstate::{Component, ComponentSet, Configurations, Format, Geometry, Layout, MxcsrMask, Offsets, Reader};

use images::{Style, Words, random_image};
use saved_files::{
    core, elf, hvm_context, hvm_record, hvm_xsave, layout_note, libxc, libxl, note, pv_xsave, record, thread, xl,
};

/// A random standard image of all that a CPU has in XCR0, with the bytes that Linux writes for software.
fn image(geometry: &Geometry, mxcsr_mask: MxcsrMask, seed: u64) -> Vec<u8> {
    let set = geometry.user();
    let mut bytes = random_image(geometry, Format::Standard, set, Style::Clean, &mut Words::new(seed)).unwrap();
    bytes[28..32].copy_from_slice(&mxcsr_mask.bits().to_le_bytes());
    bytes[464..472].copy_from_slice(&set.bits().to_le_bytes());
    bytes.resize(geometry.standard_size(set).unwrap() as usize, 0);
    bytes
}

fn numbers(saved: &Saved<'_>) -> Vec<u32> {
    saved.states.iter().map(|state| state.number).collect()
}

/// The evidence for a state's places, which are those of `geometry`.
fn evidence(saved: &Saved<'_>, state: &SavedState<'_>, geometry: &Geometry) -> Evidence {
    let origin = saved.origin(state).unwrap();
    assert_eq!(origin.geometry.user(), geometry.user());
    assert_eq!(origin.geometry.conflicts(geometry, geometry.user()).collect::<Vec<_>>(), []);
    origin.evidence
}

#[test]
fn each_file_is_known_by_its_content() {
    let genoa = machines::genoa();
    let image = image(&genoa, MxcsrMask::AMD, 1);
    let context = hvm_context(&[hvm_xsave(0, 7, 7, &image)]);
    let stream = libxc(3, 2, &[record(9, &context)]);
    for (bytes, format) in [
        (image.clone(), SavedFormat::Xsave),
        (core(&[thread(7, &image)]), SavedFormat::LinuxCore),
        (context, SavedFormat::XenHvmContext),
        (stream.clone(), SavedFormat::XenStream),
        (libxl(&stream), SavedFormat::XenStream),
        (xl(b"{}", &libxl(&stream)), SavedFormat::XenStream),
    ] {
        assert_eq!(saved::detect(&bytes), Some(format));
        let saved = saved::read(&bytes).unwrap();
        assert_eq!((saved.format, saved.states[0].image), (format, &image[..]));
    }
    for other in [&b"selfsame 1 capture\n"[..], &[0; 575], &[b' '; 4096], b"", b"\x7fEL"] {
        assert_eq!(saved::read(other), Err(SavedError::Unknown));
    }
}

#[test]
fn kvms_blob_tells_its_vendor_by_the_bits_of_mxcsr() {
    let intel = machines::sapphire_rapids().restricted(ComponentSet::from_bits(0x2E7));
    for (geometry, mask, offsets) in
        [(intel, MxcsrMask::COMMON, Offsets::Intel), (machines::genoa(), MxcsrMask::AMD, Offsets::Amd)]
    {
        let mut blob = image(&geometry, mask, 2);
        blob.resize(4096, 0);
        let saved = saved::read(&blob).unwrap();
        assert_eq!(saved.states[0].host_mask(), Some(geometry.user()));
        assert_eq!(evidence(&saved, &saved.states[0], &geometry), Evidence::MxcsrMask(offsets));
    }
}

#[test]
fn the_larger_blob_of_an_amx_host_tells_it_by_its_components() {
    let geometry = machines::sapphire_rapids();
    let blob = image(&geometry, MxcsrMask::COMMON, 3);
    assert_eq!(blob.len(), 11_008);
    let saved = saved::read(&blob).unwrap();
    assert_eq!(evidence(&saved, &saved.states[0], &geometry), Evidence::Components(Offsets::Intel));
}

#[test]
fn without_any_mark_two_vendors_places_are_possible_unless_they_agree() {
    let mut bytes = vec![0; 2696];
    bytes[512] = 7;
    let saved = saved::read(&bytes).unwrap();
    let origin = saved.origin(&saved.states[0]).unwrap();
    assert_eq!((origin.evidence, saved.states[0].host_mask()), (Evidence::SamePlaces, None));
    bytes[513] = 2;
    bytes.push(0);
    let saved = saved::read(&bytes).unwrap();
    assert_eq!(saved.origin(&saved.states[0]), None, "pkru");
}

#[test]
fn compacted_images_need_no_other_evidence() {
    for geometry in [machines::sapphire_rapids(), machines::genoa(), machines::milan()] {
        let known = geometry.without_holes().components() - Component::PT.into() - Component::LBR.into();
        let set = geometry.components() & known;
        let mut words = Words::new(4);
        let bytes = random_image(&geometry, Format::Compacted, set, Style::Clean, &mut words).unwrap();
        let saved = saved::read(&bytes).unwrap();
        let origin = saved.origin(&saved.states[0]).unwrap();
        assert_eq!(origin.evidence, Evidence::Compacted);
        let [here, there] = [&geometry, &origin.geometry].map(|geometry| {
            let reader = Reader::new(geometry, set).with_mxcsr_mask(MxcsrMask::AMD);
            let image = reader.read(&bytes).unwrap();
            let mut out = vec![0; image.interface_size_bytes().unwrap() as usize];
            image.write_interface(&mut out).unwrap();
            out
        });
        assert_eq!(here, there);
    }
}

#[test]
fn a_compacted_image_leaves_open_where_standard_ones_would_have_it_unless_its_mask_tells() {
    let compacted = |places: u64, mask: u32| {
        let mut bytes = vec![0; 16 * 1024];
        bytes[28..32].copy_from_slice(&mask.to_le_bytes());
        bytes[520..528].copy_from_slice(&(1 << 63 | places).to_le_bytes());
        let saved = saved::read(&bytes).unwrap();
        let origin = saved.origin(&saved.states[0]).unwrap();
        (origin.open.bits(), origin.geometry.row(Component::PKRU).map(|row| row.offset_bytes))
    };
    assert_eq!(compacted(0x7, 0), (0, None), "avx lies at 576 everywhere");
    assert_eq!(compacted(0x207, 0), (0x200, Some(2688)));
    assert_eq!(compacted(0x2E7, 0), (0x2E0, Some(2688)));
    assert_eq!(compacted(0x207, 0x2_FFFF), (0, Some(2432)));
    assert_eq!(compacted(0x207, 0xFFFF), (0, Some(2688)));
    assert_eq!(compacted(0x6_0207, 0), (0, Some(2688)), "only Intel's CPUs have amx");
}

#[test]
fn bit_17_of_mxcsr_mask_alone_tells_amds_cpus() {
    for (mask, offsets) in [(0x2_FFFF, Offsets::Amd), (0x3_FFFF, Offsets::Amd), (0x1_FFFF, Offsets::Intel)] {
        let mut blob = vec![0; 4096];
        blob[28..32].copy_from_slice(&u32::to_le_bytes(mask));
        (blob[464], blob[465], blob[513]) = (7, 2, 2);
        let saved = saved::read(&blob).unwrap();
        assert_eq!(saved.origin(&saved.states[0]).unwrap().evidence, Evidence::MxcsrMask(offsets), "{mask:#x}");
    }
}

#[test]
fn whatever_is_in_use_in_a_compacted_image_its_origin_is_a_cpu_that_can_be() {
    let all = ComponentSet::from_bits(0x6_1EE4);
    for set in images::subsets(all) {
        let mut bytes = vec![0; 16 * 1024];
        bytes[520..528].copy_from_slice(&(1 << 63 | set.bits() | 3).to_le_bytes());
        let saved = saved::read(&bytes).unwrap();
        let origin = saved.origin(&saved.states[0]).unwrap();
        assert!(set.is_subset_of(origin.geometry.components()), "{set}");
        assert!(Configurations::new(&origin.geometry).is_ok(), "{set}");
    }
}

#[test]
fn every_thread_of_a_core_dump_is_found_and_its_length_tells_the_vendor() {
    for (geometry, offsets) in [(machines::genoa(), Offsets::Amd), (machines::milan(), Offsets::Amd)] {
        let images = [5, 6, 7].map(|seed| image(&geometry, MxcsrMask::COMMON, seed));
        let notes: Vec<_> = images.iter().zip([100, 103, 102]).map(|(image, id)| thread(id, image)).collect();
        let bytes = core(&notes);
        let saved = saved::read(&bytes).unwrap();
        assert_eq!(numbers(&saved), [100, 103, 102]);
        for (state, image) in saved.states.iter().zip(&images) {
            assert_eq!(state.image, image);
            assert_eq!(evidence(&saved, state, &geometry), Evidence::Length(offsets));
        }
    }
}

#[test]
fn a_core_dump_that_tells_its_layout_is_believed() {
    // PKRU lies where no CPU of today has it.
    let rows = [[2, 256, 576], [9, 8, 1024]];
    let mut bytes = vec![0; 1032];
    bytes[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
    (bytes[513], bytes[1024]) = (2, 0x54);
    let bytes = core(&[thread(1, &bytes), layout_note(&rows)]);
    let saved = saved::read(&bytes).unwrap();
    let origin = saved.origin(&saved.states[0]).unwrap();
    assert_eq!((origin.evidence, origin.geometry.user().bits()), (Evidence::LayoutNote, 0x207));
    let image = Reader::new(&origin.geometry, origin.geometry.user()).read(saved.states[0].image).unwrap();
    assert_eq!(image.component(Component::PKRU).map(|bytes| bytes[0]), Some(0x54));
}

#[test]
fn the_vcpus_of_xen_guests_are_found_with_their_registers() {
    let geometry = machines::milan();
    let images = [8, 9].map(|seed| image(&geometry, MxcsrMask::AMD, seed));
    let hvm = hvm_context(&[
        hvm_record(2, 0, &[1; 1024]),
        hvm_xsave(0, 0x7, 0x207, &images[0]),
        hvm_record(2, 1, &[1; 1024]),
        hvm_xsave(1, 0x207, 0x207, &images[1]),
    ]);
    let masks = [u64::MAX; 2].map(u64::to_le_bytes).concat();
    let empty = record(6, &[&[7, 0, 0, 0, 0, 0, 0, 0], &masks[..]].concat());
    let pv = [pv_xsave(0, 0x7, 0x207, &images[0]), empty, pv_xsave(1, 0x207, 0x207, &images[1])];
    for bytes in [hvm.clone(), libxc(2, 2, &[record(9, &hvm)]), libxc(3, 1, &pv), xl(b"{ }", &libxl(&libxc(3, 1, &pv)))]
    {
        let saved = saved::read(&bytes).unwrap();
        assert_eq!(numbers(&saved), [0, 1]);
        let registers =
            |state: &SavedState<'_>| state.xen.map(|masks| [masks.xcr0, masks.accumulated].map(ComponentSet::bits));
        assert_eq!([0, 1].map(|index| registers(&saved.states[index])), [[0x7, 0x207], [0x207, 0x207]].map(Some));
        for (state, image) in saved.states.iter().zip(&images) {
            assert_eq!(state.image, image);
            assert_eq!(evidence(&saved, state, &geometry), Evidence::Length(Offsets::Amd));
        }
    }
}

#[test]
fn the_last_checkpoint_of_a_vcpu_counts() {
    let records = [(0, 1), (1, 2), (0, 3)].map(|(vcpu, byte)| pv_xsave(vcpu, 3, 3, &[byte; 576]));
    let bytes = libxc(3, 1, &records);
    let saved = saved::read(&bytes).unwrap();
    assert_eq!(saved.states.iter().map(|state| (state.number, state.image[0])).collect::<Vec<_>>(), [(0, 3), (1, 2)]);
}

#[test]
fn files_without_state_or_of_another_kind_are_refused_with_the_reason() {
    let reason = |bytes: &[u8]| saved::read(bytes).unwrap_err().to_string();
    let status = note(b"CORE", 1, &[0; 336]);
    assert_eq!(reason(&core(&[status])), "no extended state is in it: a note NT_X86_XSTATE is missing");
    // The same number means something else under another name.
    assert_eq!(
        saved::read(&core(&[note(b"QEMU", 0x202, &[0; 576])])),
        Err(SavedError::NoState { missing: "a note NT_X86_XSTATE" })
    );
    for (kind, machine) in [(2, 62), (4, 183), (4, 3)] {
        assert_eq!(saved::read(&elf(kind, machine, &thread(1, &[0; 576]))), Err(SavedError::NotCore));
    }
    assert_eq!(saved::read(b"\x7fELF\x01\x01\x01\0"), Err(SavedError::NotCore));
    assert!(reason(b"\x7fELF\x02\x01\x01\0").starts_with("no readable ELF file: "));
    assert!(reason(&hvm_context(&[])).contains("a record CPU_XSAVE"));
    assert!(reason(&libxc(3, 1, &[])).contains("HVM_CONTEXT or X86_PV_VCPU_XSAVE"));
    assert!(reason(&libxc(4, 1, &[])).contains("byte 12: a version of libxenctrl's stream"));
    assert!(reason(&xl(b"{}", b"legacy")).contains("byte 50: no header of libxenctrl's stream"));
    let mut big_endian = libxc(3, 1, &[]);
    big_endian[17] = 1;
    assert!(reason(&big_endian).contains("byte order"));
}

#[test]
fn whatever_is_cut_off_is_refused_with_its_place() {
    let context = hvm_context(&[hvm_xsave(0, 7, 7, &[0; 832])]);
    let stream = libxc(3, 2, &[record(9, &context)]);
    for (bytes, shortest) in [(context, 12), (stream, 40)] {
        for len in shortest..bytes.len() {
            let error = saved::read(&bytes[..len]).unwrap_err();
            assert!(matches!(error, SavedError::Malformed { offset, .. } if offset <= len as u64), "{len}: {error}");
        }
    }
    let short = hvm_context(&[hvm_record(16, 0, &[0; 23])]);
    assert_eq!(
        saved::read(&short).unwrap_err().to_string(),
        "byte 32: the record of a vCPU's extended state is too short"
    );
}

#[test]
fn a_core_dump_of_this_kernel_is_read() {
    let skip = |why: &str| {
        let _ = std::io::stderr().write_all(format!("SKIPPED: no core dump here: {why}\n").as_bytes());
    };
    let Ok(pattern) = std::fs::read_to_string("/proc/sys/kernel/core_pattern") else { return skip("not Linux") };
    if pattern.trim().is_empty() || pattern.contains(['|', '/', '%']) {
        return skip("core_pattern is no plain file name");
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("core-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let mut shell = Command::new("sh");
    let mut child = shell.args(["-c", "ulimit -c unlimited && kill -ABRT $$"]).current_dir(&directory).spawn().unwrap();
    let status = child.wait().unwrap();
    let files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()).collect();
    let bytes = files.first().map(|file| std::fs::read(file).unwrap());
    std::fs::remove_dir_all(&directory).unwrap();
    let Some(bytes) = bytes.filter(|_| status.core_dumped()) else { return skip("the kernel wrote none") };

    let saved = saved::read(&bytes).unwrap();
    assert_eq!((saved.format, numbers(&saved)), (SavedFormat::LinuxCore, vec![child.id()]));
    assert_eq!(saved.findings, []);
    let state = &saved.states[0];
    let origin = saved.origin(state).unwrap();
    assert_eq!(origin.doubt, None);
    eprintln!("{} bytes, {:?} by {}", state.image.len(), origin.geometry.user(), origin.evidence);
    assert_eq!(origin.geometry.standard_size(origin.geometry.user()), Ok(u32::try_from(state.image.len()).unwrap()));
    let reader = Reader::new(&origin.geometry, origin.geometry.user()).with_mxcsr_mask(MxcsrMask::AMD);
    let image = reader.read(state.image).unwrap();
    assert!(image.present().contains(Component::SSE), "a shell has used SSE");
    let layout = Layout::new(Format::Standard, origin.geometry.user(), &origin.geometry).unwrap();
    let mut interface = vec![0; image.interface_size_bytes().unwrap() as usize];
    image.write_interface(&mut interface).unwrap();
    let (mut back, mut direct) = (vec![0; state.image.len()], vec![0; state.image.len()]);
    reader.read_interface(&interface).unwrap().write(&layout, &mut back).unwrap();
    image.write(&layout, &mut direct).unwrap();
    assert_eq!(back, direct);
}

/// A file of each kind.
fn files() -> Vec<Vec<u8>> {
    let geometry = machines::genoa();
    let image = image(&geometry, MxcsrMask::AMD, 10);
    let context = hvm_context(&[hvm_xsave(0, 7, 7, &image)]);
    let pv = libxc(3, 1, &[pv_xsave(0, 7, 0x2E7, &image), record(9, &context)]);
    let notes = [thread(7, &image), layout_note(&[[2, 256, 576], [9, 8, 2432]])];
    vec![image, core(&notes), context, libxl(&pv), xl(b"{}", &libxl(&pv))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn no_bytes_panic(
        which in 0..5usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0xFF), Just(0)]), 0..12),
        near_start in any::<bool>(),
        len in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = files().swap_remove(which);
        for (at, byte) in changes {
            // What leads to the states stands first.
            let bound = if near_start { bytes.len().min(256) } else { bytes.len() };
            bytes[at.index(bound)] = byte;
        }
        if is_cut {
            bytes.truncate(len.index(bytes.len()));
        }
        let read = saved::read(&bytes);
        let file = SavedFile::read(Cursor::new(&bytes));
        prop_assert_eq!(file.as_ref().map(SavedFile::saved).map_err(|error| *error), read.clone());
        let Ok(saved) = read else { return Ok(()) };
        prop_assert!(!saved.states.is_empty());
        for state in &saved.states {
            prop_assert!(state.image.len() <= bytes.len());
            let is_canonical = state.is_canonical();
            let Some(origin) = saved.origin(state) else { continue };
            prop_assert!(!is_canonical || saved.format != SavedFormat::Xsave || state.host_mask().is_none());
            state.record_faults(&origin.geometry, origin.geometry.user());
            let reader = Reader::new(&origin.geometry, origin.geometry.components());
            let faults = reader.faults(state.image).count();
            prop_assert_eq!(faults == 0, reader.read(state.image).is_ok());
        }
    }
}
