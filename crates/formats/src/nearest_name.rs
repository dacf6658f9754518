//! The name that somebody probably meant.

use std::{iter, mem};

/// Names, ready to be asked which of them is nearest to a word that is none of them.
///
/// A file may have a great many words that nobody knows, so that few names are measured: lengths and letters, counted
/// once, tell of most that they are too far.
#[derive(Clone, Debug)]
pub(crate) struct NearestNames {
    /// Ascending by length.
    names: Vec<Name>,
}

#[derive(Clone, Debug)]
struct Name {
    name: Box<str>,
    /// In lower case.
    letters: Box<[char]>,
    marks: Marks,
}

impl NearestNames {
    /// Prepares names.
    pub(crate) fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut names: Vec<Name> = names.into_iter().map(Name::of).collect();
        names.sort_by_key(|name| name.letters.len());
        Self { names }
    }

    /// Returns the nearest name, whatever the case of its letters; of several, the first in order.
    ///
    /// It differs in a quarter of the letters at most, or in one; swapped neighbours count as one.
    pub(crate) fn find(&self, typed: &str) -> Option<&str> {
        let limit = (typed.len() / 4).max(1);
        let length = typed.chars().count();
        let at_least = |length| self.names.partition_point(|name| name.letters.len() < length);
        let of_like_length = self.names.get(at_least(length.saturating_sub(limit))..at_least(length + limit + 1))?;
        if of_like_length.is_empty() {
            return None;
        }
        let typed = Name::of(typed);
        let alike = of_like_length.iter().filter(|name| typed.marks.changed_in(name.marks) <= limit);
        let measured = alike.filter_map(|name| Some((distance(&typed.letters, &name.letters, limit)?, &*name.name)));
        measured.min().filter(|(distance, _)| *distance < typed.name.len()).map(|(_, name)| name)
    }
}

impl Name {
    fn of(name: &str) -> Self {
        let letters: Box<[char]> = name.chars().map(|c| c.to_ascii_lowercase()).collect();
        Self { name: name.into(), marks: Marks::of(&letters), letters }
    }
}

/// A bit for each letter that a word has, and another for each that it has twice; letters may share theirs.
#[derive(Clone, Copy, Debug)]
struct Marks(u64);

impl Marks {
    fn of(letters: &[char]) -> Self {
        Self(letters.iter().fold(0, |marks, &letter| {
            let once = 1 << (u32::from(letter) % 32);
            marks | if marks & once == 0 { once } else { once << 32 }
        }))
    }

    /// How many letters must be changed at least to make one word of the other: each change adds one, and takes one away.
    const fn changed_in(self, other: Self) -> usize {
        let (added, taken) = ((other.0 & !self.0).count_ones(), (self.0 & !other.0).count_ones());
        if added > taken { added as usize } else { taken as usize }
    }
}

/// In how many letters two words differ, swapped neighbours counting as one (the optimal string alignment); `None` where
/// in more than `limit`.
fn distance(one: &[char], other: &[char], limit: usize) -> Option<usize> {
    // How much each beginning of `one` differs from that of `other`, up to its letter at hand, the last, the second last.
    let mut row: Vec<usize> = (0..=one.len()).collect();
    let (mut last, mut second_last) = (row.clone(), row.clone());
    let mut before = None;
    for (count, &letter) in (1..).zip(other) {
        mem::swap(&mut second_last, &mut last);
        mem::swap(&mut last, &mut row);
        row.clear();
        row.push(count);
        let (mut left, mut own_before) = (count, None);
        for ((&own, last), two_back) in one.iter().zip(last.windows(2)).zip(iter::once(&0).chain(&second_last)) {
            let &[replaced, taken] = last else { continue };
            left = (left + 1).min(taken + 1).min(replaced + usize::from(own != letter));
            if own_before == Some(letter) && before == Some(own) {
                left = left.min(two_back + 1);
            }
            row.push(left);
            own_before = Some(own);
        }
        if row.iter().all(|distance| *distance > limit) {
            return None;
        }
        before = Some(letter);
    }
    row.last().copied().filter(|distance| *distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_nearest_name_is_the_first_of_those_that_differ_least() {
        let names = NearestNames::of(["sse4_2", "avx", "avx2", "AVX512F", "sse4_1"]);
        assert_eq!(names.find("avx521f"), Some("AVX512F"));
        assert_eq!(names.find("SSE4_3"), Some("sse4_1"));
        assert_eq!(names.find("avx5"), Some("avx"));
        assert_eq!(names.find("bogus"), None);
        assert_eq!(names.find("a"), None);
        assert_eq!(names.find(&"avx2".repeat(1 << 20)), None);
    }

    proptest! {
        #[test]
        fn a_distance_is_what_others_measure_and_no_fewer_letters_are_changed(
            a in "[a-dA-C\u{e9}\u{100}]{0,9}", b in "[a-dA-C\u{e9}\u{100}]{0,9}", limit in 0usize..10,
        ) {
            let measured = strsim::osa_distance(&a.to_ascii_lowercase(), &b.to_ascii_lowercase());
            let (a, b) = (Name::of(&a), Name::of(&b));
            prop_assert_eq!(distance(&a.letters, &b.letters, limit), Some(measured).filter(|_| measured <= limit));
            prop_assert!(a.marks.changed_in(b.marks) <= measured);
        }
    }
}
