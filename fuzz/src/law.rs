//! What holds for a dump of any format, whatever its bytes.

use selfsame_formats::{Dump, Format, read, write_capture};

/// Reads the bytes as a dump of one machine, which obeys [`of_dumps`] if it is taken.
pub(crate) fn of_files(bytes: &[u8], format: Format) {
    if let Ok(dump) = read(bytes, "host", Some(format)) {
        of_dumps(&dump);
    }
}

/// A dump is a machine with CPUs and a name; its capture is read back as the same capture; its leaves become a host's.
pub(crate) fn of_dumps(dump: &Dump) {
    assert!(!dump.cpus.is_empty() && !dump.name.is_empty());
    let capture = write_capture(dump);
    let again = read(capture.as_bytes(), "host", Some(Format::Capture)).expect("a capture of our own is read");
    assert_eq!(write_capture(&again), capture);
    let raw = dump.raw();
    assert_eq!(raw.cpus.len(), dump.cpus.len());
}
