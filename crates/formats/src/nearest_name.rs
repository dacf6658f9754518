//! The name that somebody probably meant.

/// Returns the nearest of `names` to one that is none of them, whatever their case; of several, the first in order.
///
/// It differs in a quarter of the letters at most, or in one; swapped neighbours count as one. A file may have a great many
/// names that nobody knows, so that few are measured: lengths and letters tell of most that they are too far.
pub(crate) fn nearest_name<'n>(typed: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let limit = (typed.len() / 4).max(1);
    let (shape, typed) = (Shape::of(typed), typed.to_ascii_lowercase());
    let near = |name: &'n str| {
        let is_alike = shape.least_distance(&Shape::of(name)) <= limit;
        let distance = is_alike.then(|| strsim::osa_distance(&typed, &name.to_ascii_lowercase()))?;
        (distance <= limit && distance < typed.len()).then_some((distance, name))
    };
    names.into_iter().filter_map(near).min().map(|(_, name)| name)
}

/// What tells of a word's distance from others without measuring it.
struct Shape {
    length: usize,
    /// One bit for each letter that the word has; letters may share one.
    letters: u64,
}

impl Shape {
    fn of(word: &str) -> Self {
        let letter = |c: char| 1 << (u32::from(c.to_ascii_lowercase()) % u64::BITS);
        let count = |(length, letters), c| (length + 1, letters | letter(c));
        let (length, letters) = word.chars().fold((0, 0), count);
        Self { length, letters }
    }

    /// The distance is not less: each change adds one letter at most, and takes one away.
    fn least_distance(&self, other: &Self) -> usize {
        let only_here = (self.letters & !other.letters).count_ones();
        let only_there = (other.letters & !self.letters).count_ones();
        self.length.abs_diff(other.length).max(only_here.max(only_there) as usize)
    }
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
        fn the_least_distance_is_never_above_the_distance(a in "[a-dA-C\u{e9}\u{100}]{0,9}", b in "[a-dA-C\u{e9}\u{100}]{0,9}") {
            let distance = strsim::osa_distance(&a.to_ascii_lowercase(), &b.to_ascii_lowercase());
            prop_assert!(Shape::of(&a).least_distance(&Shape::of(&b)) <= distance);
        }
    }
}
