//! Extended state in files that are larger than memory should be, or not what they ought to be.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

#[path = "../../xstate/tests/machines/mod.rs"]
mod machines;
mod saved_files;

use std::fs::{self, File};
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::path::Path;

use selfsame_formats::saved::{self, Doubt, RecordFault, SavedError, SavedFile, SavedFormat};

use saved_files::{core, elf, hvm_context, hvm_xsave, layout_note, libxc, libxl, note, pv_xsave, record, thread, xl};

/// As much memory as a guest has more of than fits here.
const MEMORY_BYTES: u64 = 3 << 30;

/// A file that is made piece by piece; the memory between the pieces takes no room.
struct Sparse(File);

impl Sparse {
    fn new(bytes: &[u8]) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sparse-{}-{}", std::process::id(), bytes.len()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let mut sparse = Self(file);
        sparse.write(bytes);
        sparse
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    fn pass_memory(&mut self) {
        let end = self.0.seek(SeekFrom::Current(MEMORY_BYTES as i64)).unwrap();
        self.0.set_len(end).unwrap();
    }

    fn saved(self) -> SavedFile {
        let file = SavedFile::read(&self.0).unwrap();
        assert!(self.0.metadata().unwrap().len() > MEMORY_BYTES);
        file
    }
}

#[test]
fn a_guest_is_found_behind_more_memory_than_is_read() {
    let image = [7; 832];
    let whole = xl(b"{}", &libxl(&libxc(3, 2, &[record(9, &hvm_context(&[hvm_xsave(3, 7, 7, &image)]))])));
    let at = whole.windows(8).position(|bytes| bytes[..4] == [9, 0, 0, 0]).unwrap();
    let mut file = Sparse::new(&whole[..at]);
    // PAGE_DATA.
    file.write(&[1u32.to_le_bytes(), u32::try_from(MEMORY_BYTES).unwrap().to_le_bytes()].concat());
    file.pass_memory();
    file.write(&whole[at..]);
    let file = file.saved();
    let saved = file.saved();
    assert_eq!((saved.format, saved.states.len(), saved.states[0].number), (SavedFormat::XenStream, 1, 3));
    assert_eq!(saved.states[0].image, image);
}

#[test]
fn what_is_wrong_behind_more_memory_than_can_be_held_is_told_with_its_place() {
    let mut file = Sparse::new(&libxc(3, 1, &[])[..40]);
    file.write(&[1u32.to_le_bytes(), u32::try_from(MEMORY_BYTES).unwrap().to_le_bytes()].concat());
    file.pass_memory();
    file.write(&[1u32.to_le_bytes(), u32::try_from(MEMORY_BYTES).unwrap().to_le_bytes()].concat());
    file.pass_memory();
    file.write(&pv_xsave(0, 3, 3, b"")[..12]);
    let offset = 40 + 2 * (8 + MEMORY_BYTES);
    assert_eq!(SavedFile::read(&file.0), Err(SavedError::Malformed { offset, reason: "the record is cut off" }));
}

#[test]
fn the_threads_of_a_core_dump_are_found_before_and_behind_the_memory() {
    let notes = [thread(5, &[1; 576]), thread(6, &[2; 576])];
    let mut before = Sparse::new(&core(&notes));
    before.pass_memory();
    let mut dump = elf(4, 62, &notes.concat());
    dump[72..80].copy_from_slice(&(120 + MEMORY_BYTES).to_le_bytes());
    let mut behind = Sparse::new(&dump[..120]);
    behind.pass_memory();
    behind.write(&dump[120..]);
    for file in [before, behind] {
        let file = file.saved();
        let states: Vec<_> = file.saved().states.iter().map(|state| (state.number, state.image.len())).collect();
        assert_eq!(states, [(5, 576), (6, 576)]);
    }
}

#[test]
fn a_file_says_the_same_whether_it_is_held_or_not() {
    let notes = [thread(7, &[1; 600]), thread(8, &[0; 10]), layout_note(&[[2, 256, 576]])];
    let context = hvm_context(&[hvm_xsave(0, 7, 7, &[3; 832])]);
    let pv = libxc(3, 1, &[pv_xsave(0, 7, 7, &[1; 832]), pv_xsave(0, 7, 7, &[2; 832])]);
    for bytes in [vec![0; 832], core(&notes), context, pv, vec![0; 100], core(&notes)[..200].to_vec()] {
        let file = SavedFile::read(Cursor::new(&bytes));
        assert_eq!(file.as_ref().map(SavedFile::saved).map_err(|error| *error), saved::read(&bytes));
    }
}

#[test]
fn a_file_without_a_mark_is_no_image_if_it_is_longer_than_any() {
    assert_eq!(saved::detect(&vec![0; 1 << 24]), Some(SavedFormat::Xsave));
    assert_eq!(saved::detect(&vec![0; (1 << 24) + 1]), None);
    let reason = |bytes: &[u8]| saved::read(bytes).unwrap_err().to_string();
    assert!(reason(&core(&[thread(1, &vec![0; (1 << 24) + 1])])).ends_with("longer than any image of extended state"));
}

/// A core dump whose notes are told by several program headers.
fn repeated(notes: &[u8], times: u16) -> Vec<u8> {
    let once = elf(4, 62, notes);
    let (mut header, mut segment) = (once[..64].to_vec(), once[64..120].to_vec());
    header[56..58].copy_from_slice(&times.to_le_bytes());
    segment[8..16].copy_from_slice(&(64 + 56 * u64::from(times)).to_le_bytes());
    [header, segment.repeat(usize::from(times)), notes.to_vec()].concat()
}

#[test]
fn notes_that_several_segments_share_are_refused() {
    let notes: Vec<u8> = (0..100).flat_map(|id| thread(id, &[0; 576])).collect();
    assert_eq!(saved::read(&repeated(&notes, 1)).unwrap().states.len(), 100);
    for times in [2, 60_000] {
        let error = saved::read(&repeated(&notes, times)).unwrap_err();
        assert!(error.to_string().ends_with("several segments have these notes"), "{error}");
    }
}

#[test]
fn the_first_section_header_tells_how_many_program_headers_there_are_if_they_are_too_many() {
    let mut bytes = core(&[thread(5, &[0; 576])]);
    bytes[56..58].copy_from_slice(&[0xFF; 2]);
    let error = saved::read(&bytes).unwrap_err();
    assert!(error.to_string().ends_with("tells the number of program headers is missing"), "{error}");
    let section = bytes.len();
    bytes[40..48].copy_from_slice(&(section as u64).to_le_bytes());
    bytes.extend([0; 64]);
    bytes[section + 44] = 1;
    assert_eq!(saved::read(&bytes).unwrap().states[0].number, 5);
}

#[test]
fn more_segments_of_notes_than_a_core_dump_has_are_refused() {
    let once = elf(4, 62, b"notes");
    let mut bytes = [&once[..64], &once[64..120].repeat(0x1_0001)].concat();
    let section = bytes.len() as u64;
    bytes[40..48].copy_from_slice(&section.to_le_bytes());
    bytes[56..58].copy_from_slice(&[0xFF; 2]);
    bytes.extend([&[0; 44], &0x1_0001u32.to_le_bytes()[..]].concat());
    let reason = "more segments of notes than a core dump has";
    assert_eq!(saved::read(&bytes), Err(SavedError::Malformed { offset: 64 + 56 * 0x1_0000, reason }));
}

#[test]
fn a_layout_has_no_more_rows_than_there_are_components() {
    let row = [2, 256, 576];
    assert!(saved::read(&core(&[thread(1, &[0; 832]), layout_note(&[row; 63])])).is_ok());
    let error = saved::read(&core(&[thread(1, &[0; 832]), layout_note(&[row; 64])])).unwrap_err();
    assert!(error.to_string().ends_with("with more rows than there can be components"), "{error}");
}

#[test]
fn a_layout_that_no_cpu_has_is_told_with_what_is_wrong_with_it() {
    let findings = |rows: &[[u32; 3]]| {
        let bytes = core(&[thread(1, &[0; 2440]), layout_note(rows)]);
        let findings = saved::read(&bytes).unwrap().findings;
        assert!(findings.iter().all(|finding| finding.what == "NT_X86_XSAVE_LAYOUT"));
        findings.into_iter().map(|finding| finding.reason).collect::<Vec<_>>()
    };
    assert_eq!(findings(&[[2, 256, 576], [9, 8, 2432]]), [""; 0]);
    assert_eq!(findings(&[[2, 256, 576], [9, 8, 600]]), ["avx and pkru overlap"]);
    assert_eq!(findings(&[[2, 256, 100]]), ["avx begins at byte 100, before the end of the header"]);
    assert_eq!(findings(&[[2, 256, 0xFFFF_FFF0]]), ["avx ends at byte 4294967536, beyond the reported 4294967295"]);
    assert_eq!(findings(&[[2, 256, 576], [70, 8, 832]]), ["component 70 has a row, and there is none of that number"]);
}

#[test]
fn a_thread_without_an_image_does_not_hide_the_others() {
    let bytes = core(&[thread(5, &[0; 576]), thread(6, b""), thread(7, &[0; 100])]);
    let saved = saved::read(&bytes).unwrap();
    assert_eq!(saved.states.iter().map(|state| state.number).collect::<Vec<_>>(), [5]);
    let reasons: Vec<_> = saved.findings.iter().map(ToString::to_string).collect();
    assert_eq!(reasons, ["too short: 6, 7: left out, because the image of 0 bytes is too short: each has 576 or more"]);
    let error = saved::read(&core(&[thread(7, &[0; 100])])).unwrap_err();
    assert!(matches!(error, SavedError::Malformed { .. }));
    assert!(error.to_string().ends_with("too short: an image of extended state has 576 bytes or more"), "{error}");
}

#[test]
fn a_vcpu_is_left_out_as_too_short_if_its_last_state_is() {
    let read = |records: &[(u32, usize)]| {
        let records: Vec<_> = records.iter().map(|&(vcpu, len)| pv_xsave(vcpu, 3, 3, &vec![1; len])).collect();
        let bytes = libxc(3, 1, &records);
        let saved = saved::read(&bytes).unwrap();
        let numbers: Vec<_> = saved.states.iter().map(|state| state.number).collect();
        (numbers, saved.findings.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(read(&[(0, 100), (1, 576), (0, 576)]), (vec![0, 1], vec![]));
    let reason = "too short: 0: left out, because the image of 100 bytes is too short: each has 576 or more";
    assert_eq!(read(&[(0, 576), (1, 576), (0, 100)]), (vec![1], vec![reason.to_owned()]));
}

#[test]
fn as_many_states_are_too_much_however_short_they_are() {
    let empty = note(b"LINUX", 0x202, b"");
    let of =
        |count: usize| saved::read(&core(&[empty.repeat(count), thread(7, &[0; 576])])).map(|saved| saved.states.len());
    let most = (256 << 20) / 576;
    assert_eq!(of(most - 1), Ok(1));
    assert_eq!(of(most), Err(SavedError::TooMuch { limit_mib: 256 }));
}

/// A note whose name is counted with as many zeros as are written here.
fn named(name: &[u8], kind: u32, desc: &[u8]) -> Vec<u8> {
    let mut padded = name.to_vec();
    padded.resize(name.len().next_multiple_of(4), 0);
    let lens = [name.len(), desc.len()].map(|len| u32::try_from(len).unwrap().to_le_bytes()).concat();
    [&lens[..], &kind.to_le_bytes(), &padded, desc].concat()
}

#[test]
fn a_notes_name_may_go_without_its_zero_or_have_several() {
    let mut status = [0; 336];
    status[32] = 5;
    let number = |core_name: &[u8], linux_name: &[u8]| {
        let bytes = core(&[named(core_name, 1, &status), named(linux_name, 0x202, &[0; 576])]);
        saved::read(&bytes).map(|saved| saved.states[0].number)
    };
    for (core_name, linux_name) in
        [(&b"CORE"[..], &b"LINUX"[..]), (b"CORE\0", b"LINUX\0"), (b"CORE\0\0\0\0", b"LINUX\0\0\0")]
    {
        assert_eq!(number(core_name, linux_name), Ok(5));
    }
    for other in [&b"LINUXES"[..], b"LINU", b"", b"LINUX\0\0\0\0"] {
        assert_eq!(number(b"CORE", other), Err(SavedError::NoState { missing: "a note NT_X86_XSTATE" }));
    }
}

#[test]
fn threads_without_an_id_of_their_own_are_kept_apart() {
    let xstate = |byte| note(b"LINUX", 0x202, &[byte; 576]);
    let bytes = core(&[xstate(1), thread(1, &[2; 576]), xstate(3), thread(1, &[4; 576])]);
    let saved = saved::read(&bytes).unwrap();
    let states: Vec<_> = saved.states.iter().map(|state| (state.number, state.image[0])).collect();
    assert_eq!(states, [(0, 1), (1, 2), (2, 3), (3, 4)]);
    let reason = "0, 2, 3: numbers made up for threads without such a note of their own, which tells the id";
    assert_eq!((&*saved.findings[0].what, &*saved.findings[0].reason), ("NT_PRSTATUS", reason));
}

#[test]
fn xen_refuses_a_header_for_what_cpus_pass_over() {
    let milan = machines::milan();
    let faults = |xcomp_bv: u64, reserved: Option<usize>| {
        let mut image = [0; 832];
        image[520..528].copy_from_slice(&xcomp_bv.to_le_bytes());
        reserved.into_iter().for_each(|at| image[at] = 1);
        let bytes = hvm_context(&[hvm_xsave(0, 7, 7, &image)]);
        saved::read(&bytes).unwrap().states[0].record_faults(&milan, milan.user())
    };
    assert_eq!(faults(0, None), []);
    for at in 528..576 {
        assert_eq!(faults(0, Some(at)), [RecordFault::ReservedBytes], "{at}");
    }
    assert_eq!(faults(7, None), [RecordFault::CompactionBits { xcomp_bv: 7 }]);
    assert_eq!(faults(1 << 63, Some(560)), [RecordFault::ReservedBytes, RecordFault::Compacted]);
}

#[test]
fn intels_places_are_doubted_where_the_mask_is_amds_or_a_debugger_wrote_the_thread() {
    let doubt = |mask: u32, len: usize, in_core: bool| {
        let mut image = vec![0; len];
        image[28..32].copy_from_slice(&mask.to_le_bytes());
        (image[464], image[512]) = (0xE7, 0xE7);
        let bytes = if in_core { core(&[thread(1, &image)]) } else { image };
        let saved = saved::read(&bytes).unwrap();
        saved.origin(&saved.states[0]).unwrap().doubt
    };
    assert_eq!(doubt(0x2_FFFF, 2688, true), Some(Doubt::MaskOfAmd));
    assert_eq!(doubt(0x2_FFFF, 2688, false), Some(Doubt::MaskOfAmd));
    assert_eq!(doubt(0, 2688, true), Some(Doubt::Debugger), "gcore of gdb 13");
    assert_eq!(doubt(0, 2688, false), None, "a canonical image");
    assert_eq!(doubt(0xFFFF, 2688, true), None);
    assert_eq!(doubt(0x2_FFFF, 2432, true), None);
}
