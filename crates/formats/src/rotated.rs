//! MSRs that a tool read through a buffered file.
//!
//! `/dev/cpu/0/msr` answers each read with the MSR at the file's offset, whatever was read before. A tool that seeks in a
//! buffer of its own instead gets the bytes of one MSR again and again, from another byte on each time.

use std::collections::BTreeMap;

use crate::collect::MsrRow;
use crate::error::ReadError;

/// So many VMX MSRs are no accident.
const FEW: usize = 3;

/// Refuses rows in which VMX MSRs repeat the value of another MSR with its bytes rotated, by different amounts.
pub(crate) fn refuse(rows: &[MsrRow]) -> Result<(), ReadError> {
    let is_vmx = |row: &&MsrRow| (0x480..=0x493).contains(&row.index);
    let values: BTreeMap<u32, u64> = rows.iter().filter_map(|row| Some((row.index, row.value?))).collect();
    for (&origin, &value) in values.iter().filter(|(index, _)| !(0x480..=0x493).contains(*index)) {
        // A value that is the same however it is rotated proves nothing.
        if value.rotate_left(8) == value {
            continue;
        }
        let repeats = |row: &&MsrRow| (0..8).find(|byte| row.value == Some(value.rotate_left(byte * 8)));
        let mut rows = rows.iter().filter(is_vmx).filter(|row| repeats(row).is_some());
        let Some(first) = rows.next() else { continue };
        let rest: Vec<&MsrRow> = rows.collect();
        let is_rotated = rest.iter().any(|row| repeats(row) != repeats(&first));
        if rest.len() + 1 >= FEW && is_rotated {
            return Err(ReadError::RotatedMsrs { origin, first: first.index, count: rest.len() + 1 });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[(u32, u64)]) -> Vec<MsrRow> {
        values.iter().map(|&(index, value)| MsrRow { index, value: Some(value), line: 1 }).collect()
    }

    #[test]
    fn rotated_bytes_of_another_msr_are_refused() {
        let rotated = rows(&[(0xcf, 0x6ff), (0x480, 0x6ff << 8), (0x485, 0x6ff << 16), (0x48f, 0x6ff)]);
        assert_eq!(refuse(&rotated), Err(ReadError::RotatedMsrs { origin: 0xcf, first: 0x480, count: 3 }));
    }

    #[test]
    fn vmx_msrs_that_are_like_each_other_or_like_another_by_chance_are_kept() {
        let real = rows(&[
            (0x10a, 0x16),
            (0x481, 0x7f_0000_0016),
            (0x48d, 0x7f_0000_0016),
            (0x486, 0x8000_0021),
            (0x48a, 0x16),
            (0x491, 1),
        ]);
        assert_eq!(refuse(&real), Ok(()));
        let same = rows(&[(0xcf, 0), (0x480, 0), (0x481, 0), (0x482, 0)]);
        assert_eq!(refuse(&same), Ok(()));
    }
}
