//! Files with extended state: XSAVE areas, Linux core dumps, Xen's records and streams.

use std::io::Cursor;

use selfsame_formats::saved::{self, SavedFile};
use selfsame_xstate::Reader;

use crate::Target;

/// The target.
pub const TARGET: Target = Target {
    name: "saved",
    run,
    seeds,
    words: &["\x7fELF\x02\x01\x01", "LINUX\0\0\0", "LibxlFmt", "XenSaved", "\u{1}\u{10}", "\u{2}\u{2}", "\u{2}\u{5}"],
    max_len_bytes: 16 << 10,
};

/// Reads the file, at once and here and there, and each area in it by its own CPU's places.
pub fn run(bytes: &[u8]) {
    let read = saved::read(bytes);
    let file = SavedFile::read(Cursor::new(bytes));
    assert_eq!(file.as_ref().map(SavedFile::saved).map_err(|error| *error), read);
    let Ok(saved) = read else { return };
    assert!(saved::detect(bytes).is_some());
    for state in &saved.states {
        let Some(origin) = saved.origin(state) else { continue };
        state.record_faults(&origin.geometry, origin.geometry.user());
        let reader = Reader::new(&origin.geometry, origin.geometry.components());
        if let Ok(image) = reader.read(state.image) {
            assert!(image.present().is_subset_of(origin.geometry.components()));
        }
    }
}

/// An area as KVM gives it, alone, in a Xen record, and in a core dump's note.
fn seeds() -> Vec<Vec<u8>> {
    let mut area = vec![0_u8; 4096];
    area[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
    area[28..32].copy_from_slice(&0x2_ffff_u32.to_le_bytes());
    area[464] = 7;
    area[512] = 7;
    let record = |kind: u16, body: &[u8]| {
        let len_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
        [&kind.to_le_bytes()[..], &[0, 0], &len_bytes.to_le_bytes(), body].concat()
    };
    let masks = [7_u64, 7, 7].map(u64::to_le_bytes).concat();
    let context = [record(1, &[0; 64]), record(16, &[masks, area[..1024].to_vec()].concat()), record(0, &[])].concat();
    vec![area[..832].to_vec(), area, context]
}
