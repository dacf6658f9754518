//! Which leaves have subleaves, and which subleaf a row is of where the file does not say it.
//!
//! Tools that do not print subleaves print their rows in ascending order, and some leave out rows that are all zero.
//! What a row holds mostly tells its subleaf; where it does not, the answer carries a doubt.

use std::collections::BTreeSet;

use selfsame_cpuid::Regs;

/// The highest subleaf that a row can be of: captures spell it with two digits, and no manual has a higher one.
pub(crate) const MAX: u32 = 0xff;

/// Whether ECX selects a subleaf.
pub(crate) fn is_indexed(leaf: u32) -> bool {
    INDEXED_BASIC.contains(&leaf) || matches!(leaf, 0x8000_001d | 0x8000_0020 | 0x8000_0026)
}

const INDEXED_BASIC: [u32; 20] =
    [0x4, 0x7, 0xb, 0xd, 0xf, 0x10, 0x12, 0x14, 0x17, 0x18, 0x1b, 0x1d, 0x1e, 0x1f, 0x20, 0x23, 0x24, 0x27, 0x28, 0x29];

/// The subleaves of a leaf's rows.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Inferred {
    /// One for each row, in the order of the rows.
    pub(crate) subleaves: Vec<u32>,
    /// Why they are not certain, where they are not.
    pub(crate) doubt: Option<&'static str>,
}

impl Inferred {
    fn certain(subleaves: Vec<u32>) -> Self {
        Self { subleaves, doubt: None }
    }

    fn doubtful(subleaves: Vec<u32>, doubt: &'static str) -> Self {
        Self { subleaves, doubt: Some(doubt) }
    }

    /// The subleaves as text, `0, 2, 9`.
    pub(crate) fn list(&self) -> String {
        let spelled: Vec<String> = self.subleaves.iter().map(|subleaf| format!("{subleaf:x}")).collect();
        spelled.join(", ")
    }
}

const ZEROES_LEFT_OUT: &str = "rows that are all zero may be left out";

/// Infers the subleaves of all rows of one leaf, in the order of the file.
pub(crate) fn infer(leaf: u32, rows: &[Regs]) -> Inferred {
    let first = rows.first().copied().unwrap_or_default();
    match leaf {
        // EAX[4:0] is the cache's type and 0 ends the list (SDM vol. 2A, CPUID, leaf 4; APM vol. 3, E.4.16).
        0x4 | 0x8000_001d => by_type(rows, 0x1f),
        // EAX[3:0] of subleaf 2 and on is 1 for a section of EPC, and 0 ends the list; subleaves 0 and 1 come together.
        0x12 => by_position(rows, rows.len()),
        // EAX[11:0] is the parameter's type.
        0x1b => by_type(rows, 0xfff),
        // ECX[7:0] repeats the subleaf (SDM, leaves 0xB and 0x1F; APM vol. 3, E.4.20).
        0xb | 0x1f | 0x8000_0026 => by_echo(rows),
        0xd => xstate(rows),
        // A bit for each resource, which is a subleaf (SDM, leaves 0xF and 0x10; APM vol. 3, E.4.18).
        0xf | 0x27 => by_bits(rows, u64::from(first.edx) & !1 | 1),
        0x10 | 0x28 | 0x8000_0020 => by_bits(rows, u64::from(first.ebx) & !1 | 1),
        0x23 => by_bits(rows, u64::from(first.eax) | 1),
        // EAX of subleaf 0 is the highest subleaf.
        _ => by_position(rows, usize::try_from(first.eax).map_or(usize::MAX, |max| max.saturating_add(1))),
    }
}

/// Gives `count` rows the least subleaves that tagged rows of the same leaf do not take.
pub(crate) fn fill(taken: &BTreeSet<u32>, count: usize) -> Inferred {
    let free = (0..).filter(|subleaf| !taken.contains(subleaf)).take(count).collect();
    Inferred::doubtful(free, "some rows of the leaf are tagged, some are not")
}

fn ordinals(count: usize) -> Vec<u32> {
    (0..).take(count).collect()
}

fn by_position(rows: &[Regs], expected: usize) -> Inferred {
    let has_more = rows.iter().skip(expected).any(|row| !row.is_zero());
    let subleaves = ordinals(rows.len());
    if rows.len() < expected {
        Inferred::doubtful(subleaves, ZEROES_LEFT_OUT)
    } else if has_more {
        Inferred::doubtful(subleaves, "there are more rows than subleaf 0 tells of")
    } else {
        Inferred::certain(subleaves)
    }
}

fn by_type(rows: &[Regs], mask: u32) -> Inferred {
    let is_end = |row: &&Regs| row.eax & mask == 0;
    let ended = rows.iter().skip_while(|row| !is_end(row)).any(|row| !is_end(&row));
    let subleaves = ordinals(rows.len());
    if ended {
        Inferred::doubtful(subleaves, "a row follows the end of the list")
    } else {
        Inferred::certain(subleaves)
    }
}

fn by_echo(rows: &[Regs]) -> Inferred {
    let mut subleaves: Vec<u32> = rows.iter().map(|row| row.ecx & 0xff).collect();
    // Some tools print the end of the list as zeroes, without the echo.
    if let [.., before, last] = subleaves.as_mut_slice()
        && rows.last().is_some_and(|row| row.is_zero())
    {
        *last = *before + 1;
    }
    if subleaves.first() == Some(&0) && subleaves.is_sorted_by(|a, b| a < b) {
        Inferred::certain(subleaves)
    } else {
        Inferred::doubtful(ordinals(rows.len()), "ECX does not repeat the subleaf")
    }
}

/// Subleaves are the bits of a mask, bit 0 included.
fn by_bits(rows: &[Regs], mask: u64) -> Inferred {
    let expected: Vec<u32> = (0..64).filter(|bit| mask >> bit & 1 == 1).collect();
    let after = expected.last().map_or(0, |last| last + 1);
    let subleaves: Vec<u32> = expected.iter().copied().chain(after..).take(rows.len()).collect();
    if rows.len() == expected.len() {
        Inferred::certain(subleaves)
    } else if rows.len() < expected.len() {
        Inferred::doubtful(subleaves, ZEROES_LEFT_OUT)
    } else if rows.iter().skip(1).any(|row| row.is_zero()) {
        // Zero rows are printed, so every subleaf is.
        Inferred::doubtful(ordinals(rows.len()), "there are more rows than subleaf 0 tells of, some all zero")
    } else {
        Inferred::doubtful(subleaves, "there are more rows than subleaf 0 tells of")
    }
}

/// Leaf 0xD: subleaf 0, then perhaps subleaf 1, then a row for each component (SDM vol. 1, 13.2).
fn xstate(rows: &[Regs]) -> Inferred {
    let Some((first, rest)) = rows.split_first() else { return Inferred::certain(Vec::new()) };
    let xcr0 = components(first.eax, first.edx);
    let (one, component_rows) = match rest.split_first() {
        Some((second, after)) if is_subleaf_1(*second, after.len(), xcr0) => (Some(*second), after),
        _ => (None, rest),
    };
    let xss = one.map_or(0, |row| components(row.ecx, row.edx));
    let (aligned, mut doubt) = align(component_rows, xcr0, xss);
    if rest.first().is_some_and(|row| row.is_zero()) {
        doubt = doubt.or(Some("the second row is all zero"));
    }
    let head = if one.is_some() { [0, 1].as_slice() } else { [0].as_slice() };
    Inferred { subleaves: head.iter().copied().chain(aligned).collect(), doubt }
}

/// The components of XCR0 or XSS that have a subleaf.
fn components(low: u32, high: u32) -> u64 {
    (u64::from(high) << 32 | u64::from(low)) & !3 & !(1 << 63)
}

/// Whether the second row is subleaf 1, not a component.
///
/// EAX of subleaf 1 has a bit for each of XSAVEOPT, XSAVEC, XGETBV, XSAVES and XFD, and every CPU with subleaf 1 has
/// XSAVEOPT, bit 0; the sizes of components are multiples of 8.
fn is_subleaf_1(row: Regs, rows_after: usize, xcr0: u64) -> bool {
    if row.is_zero() { rows_after >= xcr0.count_ones() as usize } else { row.eax & 7 != 0 }
}

/// Finds the component of each row: ascending bits of XCR0 and XSS that fit its size, offset and class.
fn align(rows: &[Regs], xcr0: u64, xss: u64) -> (Vec<u32>, Option<&'static str>) {
    let expected: Vec<u32> = (2..63).filter(|bit| (xcr0 | xss) >> bit & 1 == 1).collect();
    let is_complete = rows.len() == expected.len();
    let mut left = expected.as_slice();
    let mut aligned = Vec::new();
    let mut doubt = None;
    for row in rows {
        let fits = |bit: &u32| fits(*bit, xss >> bit & 1 == 1, *row);
        let Some(at) = left.iter().position(fits) else { return by_order(rows.len(), &expected) };
        let (Some(&bit), Some(after)) = (left.get(at), left.get(at + 1..)) else { break };
        if !is_complete && (row.is_zero() || after.iter().any(fits)) {
            doubt = Some("a row fits more than one component");
        }
        aligned.push(bit);
        left = after;
    }
    (aligned, doubt)
}

fn by_order(count: usize, expected: &[u32]) -> (Vec<u32>, Option<&'static str>) {
    let after = expected.last().map_or(2, |last| last + 1);
    let subleaves = expected.iter().copied().chain(after..).take(count).collect();
    (subleaves, Some("sizes and offsets do not tell the components"))
}

/// Whether a row can be that of a component; an all-zero row can be any.
fn fits(bit: u32, is_supervisor: bool, row: Regs) -> bool {
    if row.is_zero() {
        return true;
    }
    let known = KNOWN_COMPONENTS.iter().find(|known| known.0 == bit);
    let has_size = known.is_none_or(|known| known.1 == row.eax);
    let has_offset = known.and_then(|known| known.2).is_none_or(|offset| offset == row.ebx);
    has_size && has_offset && (row.ecx & 1 == 1) == is_supervisor
}

/// Components whose size the manuals fix, and their offset where all CPUs agree: AVX and MPX. Component 15, the last
/// branch records, is sized by their number.
const KNOWN_COMPONENTS: [(u32, u32, Option<u32>); 18] = [
    (2, 0x100, Some(0x240)),
    (3, 0x40, Some(0x3c0)),
    (4, 0x40, Some(0x400)),
    (5, 0x40, None),
    (6, 0x200, None),
    (7, 0x400, None),
    (8, 0x80, None),
    (9, 8, None),
    (10, 8, None),
    (11, 0x10, None),
    (12, 0x18, None),
    (13, 8, None),
    (14, 0x30, None),
    (16, 8, None),
    (17, 0x40, None),
    (18, 0x2000, None),
    (19, 0x80, None),
    (62, 0x80, None),
];

#[cfg(test)]
mod tests {
    use super::*;
    use selfsame_cpuid::{PlaceError, Word};

    fn component(size: u32, offset: u32) -> Regs {
        Regs::new(size, offset, 0, 0)
    }

    fn infer_certain(leaf: u32, rows: &[Regs]) -> Vec<u32> {
        let inferred = infer(leaf, rows);
        assert_eq!(inferred.doubt, None);
        inferred.subleaves
    }

    #[test]
    fn subleaves_are_where_the_model_of_policies_has_them() {
        for leaf in (0..0x30).chain(0x8000_0000..0x8000_0030) {
            let without = format!("{leaf:08x}.eax").parse::<Word>();
            let with = format!("{leaf:08x}.0.eax").parse::<Word>();
            match (without, with) {
                (Err(PlaceError::Malformed), _) => assert!(is_indexed(leaf), "{leaf:#x}"),
                (_, Err(PlaceError::Malformed)) => assert!(!is_indexed(leaf), "{leaf:#x}"),
                _ => {}
            }
        }
    }

    #[test]
    fn a_second_row_with_the_size_of_avx_is_subleaf_2() {
        let rows = [Regs::new(7, 0x340, 0x340, 0), component(0x100, 0x240)];
        assert_eq!(infer_certain(0xd, &rows), [0, 2]);
    }

    #[test]
    fn a_second_row_of_flags_is_subleaf_1() {
        let rows = [Regs::new(7, 0x340, 0x340, 0), Regs::new(1, 0, 0, 0), component(0x100, 0x240)];
        assert_eq!(infer_certain(0xd, &rows), [0, 1, 2]);
    }

    #[test]
    fn components_follow_the_bits_of_xcr0_and_xss() {
        let rows = [
            Regs::new(0x2ff, 0xa88, 0xa88, 0),
            Regs::new(0xf, 0xa08, 0x100, 0),
            component(0x100, 0x240),
            component(0x40, 0x3c0),
            component(0x40, 0x400),
            component(0x40, 0x440),
            component(0x200, 0x480),
            component(0x400, 0x680),
            Regs::new(0x80, 0, 1, 0),
            component(8, 0xa80),
        ];
        assert_eq!(infer_certain(0xd, &rows), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_component_without_its_row_is_passed_over() {
        let rows = [Regs::new(0xe7, 0xa80, 0xa80, 0), component(0x100, 0x240), component(0x400, 0x680)];
        assert_eq!(infer_certain(0xd, &rows), [0, 2, 7]);
        let lwp = [Regs::new(7, 0x3c0, 0x3c0, 1 << 30), component(0x100, 0x240), component(0x80, 0x340)];
        assert_eq!(infer_certain(0xd, &lwp), [0, 2, 62]);
    }

    #[test]
    fn rows_that_fit_no_component_are_taken_in_order_and_doubted() {
        let rows = [Regs::new(7, 0x340, 0x340, 0), component(0x118, 0x240), component(0x120, 0x240)];
        let inferred = infer(0xd, &rows);
        assert_eq!(inferred.subleaves, [0, 2, 3]);
        assert!(inferred.doubt.is_some());
    }

    #[test]
    fn resources_are_the_bits_of_subleaf_0() {
        let leaf_10 = [Regs::new(0, 0xa, 0, 0), Regs::new(0xa, 0x600, 4, 0xf), Regs::new(0x59, 0, 4, 7)];
        assert_eq!(infer_certain(0x10, &leaf_10), [0, 1, 3]);
        let leaf_f = [Regs::new(0, 0x8f, 0, 2), Regs::new(0, 0x1_2000, 0x8f, 7)];
        assert_eq!(infer_certain(0xf, &leaf_f), [0, 1]);
        assert!(infer(0x10, &leaf_10[..2]).doubt.is_some(), "one of two resources is missing");
    }

    #[test]
    fn topology_rows_say_their_subleaf_themselves() {
        let rows = [Regs::new(1, 2, 0x100, 0), Regs::new(5, 0x20, 0x201, 0), Regs::ZERO];
        assert_eq!(infer_certain(0xb, &rows), [0, 1, 2]);
        assert_eq!(infer_certain(0x1f, &[Regs::new(1, 2, 0x100, 0), Regs::new(6, 9, 0x302, 0)]), [0, 2]);
        assert!(infer(0xb, &[Regs::new(1, 2, 0x100, 0), Regs::new(5, 0x20, 0x200, 0)]).doubt.is_some());
    }

    #[test]
    fn rows_fewer_than_subleaf_0_tells_of_are_doubted() {
        let seven = |max| [Regs::new(max, 1, 0, 0), Regs::new(0x10, 0, 0, 0)];
        assert_eq!(infer_certain(7, &seven(1)), [0, 1]);
        assert!(infer(7, &seven(2)).doubt.is_some());
        assert!(infer(7, &seven(0)).doubt.is_some());
    }
}
