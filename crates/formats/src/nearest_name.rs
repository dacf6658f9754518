//! The name that somebody probably meant.

/// Returns the nearest of `names` to one that is none of them, whatever their case; of several, the first in order.
///
/// It differs in a quarter of the letters at most, or in one; swapped neighbours count as one. A file may have a great many
/// names that nobody knows, so that few are measured: lengths and letters tell of most that they are too far.
pub(crate) fn nearest_name<'n>(typed: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let limit = (typed.len() / 4).max(1);
    let (length, letters) = (typed.chars().count(), letters_of(typed));
    let typed = typed.to_ascii_lowercase();
    let is_alike = |name: &&str| {
        length.abs_diff(name.chars().count()) <= limit && letters_changed(letters, letters_of(name)) <= limit
    };
    let measured = |name: &'n str| (strsim::osa_distance(&typed, &name.to_ascii_lowercase()), name);
    let nearest = names.into_iter().filter(is_alike).map(measured).min();
    nearest.filter(|(distance, _)| *distance <= limit && *distance < typed.len()).map(|(_, name)| name)
}

/// One bit for each letter that a word has, in either case; letters may share one.
fn letters_of(word: &str) -> u64 {
    word.chars().fold(0, |letters, c| letters | 1 << (u32::from(c.to_ascii_lowercase()) % u64::BITS))
}

/// How many letters must be changed at least: each change adds one, and takes one away.
fn letters_changed(one: u64, other: u64) -> usize {
    (one & !other).count_ones().max((other & !one).count_ones()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_nearest_name_is_the_first_of_those_that_differ_least() {
        let names = ["avx", "avx2", "AVX512F", "sse4_1", "sse4_2"];
        assert_eq!(nearest_name("avx521f", names), Some("AVX512F"));
        assert_eq!(nearest_name("SSE4_3", names), Some("sse4_1"));
        assert_eq!(nearest_name("avx5", names), Some("avx"));
        assert_eq!(nearest_name("bogus", names), None);
        assert_eq!(nearest_name("a", names), None);
        assert_eq!(nearest_name(&"avx2".repeat(1 << 20), names), None);
    }

    proptest! {
        #[test]
        fn no_more_letters_are_changed_than_the_distance(a in "[a-dA-C\u{e9}\u{100}]{0,9}", b in "[a-dA-C\u{e9}\u{100}]{0,9}") {
            let distance = strsim::osa_distance(&a.to_ascii_lowercase(), &b.to_ascii_lowercase());
            prop_assert!(letters_changed(letters_of(&a), letters_of(&b)) <= distance);
            prop_assert!(a.chars().count().abs_diff(b.chars().count()) <= distance);
        }
    }
}
