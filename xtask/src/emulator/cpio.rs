//! The archive that Linux unpacks as its first file system: cpio's "new ASCII" form (Linux,
//! `Documentation/driver-api/early-userspace/buffer-format.rst`).

/// What separates headers, names, and contents from what follows.
const ALIGN_BYTES: usize = 4;

/// The name of the entry that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// An archive under construction. A folder goes in before what lies in it.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: usize,
}

impl Archive {
    /// Adds a folder.
    pub(crate) fn folder(&mut self, name: &str) {
        self.entry(name, 0o040_755, &[]);
    }

    /// Adds a file that can be read.
    pub(crate) fn file(&mut self, name: &str, contents: &[u8]) {
        self.entry(name, 0o100_644, contents);
    }

    /// Adds a file that can be run.
    pub(crate) fn program(&mut self, name: &str, contents: &[u8]) {
        self.entry(name, 0o100_755, contents);
    }

    /// The whole archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: usize, contents: &[u8]) {
        self.entries += 1;
        // Number, mode, owner, group, links, time, length, two devices of two words, length of the name with its end, sum.
        let fields = [self.entries, mode, 0, 0, 1, 0, contents.len(), 0, 0, 0, 0, name.len() + 1, 0];
        self.bytes.extend(b"070701");
        self.bytes.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(contents);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN_BYTES), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_headers_names_and_contents_each_aligned() {
        let mut archive = Archive::default();
        archive.folder("bin");
        archive.program("bin/a", b"12345");
        let bytes = archive.finish();
        let zeros = |count| "00000000".repeat(count);
        let header = |number, mode: u32, len_bytes, name: &str| {
            let name_bytes = name.len() + 1;
            let (a, b) = (zeros(2), zeros(4));
            format!(
                "070701{number:08x}{mode:08x}{a}00000001{}{len_bytes:08x}{b}{name_bytes:08x}{}{name}",
                zeros(1),
                zeros(1)
            )
        };
        let expected = [
            header(1, 0o040_755, 0, "bin") + "\0\0\0",
            header(2, 0o100_755, 5, "bin/a") + "\0" + "12345\0\0\0",
            header(3, 0, 0, TRAILER) + "\0\0\0\0",
        ];
        assert_eq!(String::from_utf8(bytes).unwrap(), expected.concat());
    }
}
