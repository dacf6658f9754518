//! A file that is read here and there: those with the memory of a guest or a process are larger than any memory.

use std::io::{BufReader, Read, Seek, SeekFrom};

use super::SavedError;

/// A file, and where it was read last.
pub(super) struct Source<F> {
    file: BufReader<F>,
    at: u64,
    len_bytes: u64,
}

impl<F: Read + Seek> Source<F> {
    pub(super) fn new(mut file: F) -> Result<Self, SavedError> {
        // No file is longer than its offsets can say: sums of a place in it and a length that it tells fit.
        let len_bytes = file.seek(SeekFrom::End(0)).map_err(|error| failed(&error))?.min(u64::MAX >> 1);
        file.rewind().map_err(|error| failed(&error))?;
        Ok(Self { file: BufReader::new(file), at: 0, len_bytes })
    }

    pub(super) const fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Returns the bytes at a place, if all of them are there.
    pub(super) fn array<const N: usize>(&mut self, offset: u64) -> Result<Option<[u8; N]>, SavedError> {
        let mut array = [0; N];
        let is_there = self.has(offset, N as u64);
        if is_there {
            self.fill(offset, &mut array)?;
        }
        Ok(is_there.then_some(array))
    }

    /// Returns the same of a number of bytes that the file tells: no more than it has are ever asked for.
    pub(super) fn bytes(&mut self, offset: u64, len_bytes: u64) -> Result<Option<Vec<u8>>, SavedError> {
        let len = usize::try_from(len_bytes).ok().filter(|_| self.has(offset, len_bytes));
        let Some(len) = len else { return Ok(None) };
        let mut bytes = vec![0; len];
        self.fill(offset, &mut bytes)?;
        Ok(Some(bytes))
    }

    fn has(&self, offset: u64, len_bytes: u64) -> bool {
        offset.checked_add(len_bytes).is_some_and(|end| end <= self.len_bytes)
    }

    fn fill(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), SavedError> {
        // Both are within the file, whose length is a signed number.
        let ahead = i64::try_from(offset).ok().zip(i64::try_from(self.at).ok()).map(|(to, from)| to - from);
        self.file.seek_relative(ahead.unwrap_or_default()).map_err(|error| failed(&error))?;
        self.at = offset;
        self.file.read_exact(bytes).map_err(|error| failed(&error))?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

fn failed(error: &std::io::Error) -> SavedError {
    SavedError::Read { kind: error.kind() }
}
