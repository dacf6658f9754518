//! Places of bits.

use selfsame_cpuid::{FEATURES, Place, Word};

use crate::Target;

/// The target.
pub const TARGET: Target = Target {
    name: "place",
    run,
    seeds,
    words: &["msr:", "0000010a", "00000007.0.", "80000021.", "eax", "ebx", "ecx", "edx", "[", "]", "[63:32]"],
    max_len_bytes: 40,
};

/// Reads the text: a place is written back as itself.
pub fn run(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(place) = text.parse::<Place>() {
        assert_eq!(place.to_string().parse(), Ok(place));
        assert_eq!(Place::new(place.word(), place.bit()), Some(place));
    }
    if let Ok(word) = text.parse::<Word>() {
        assert_eq!(word.to_string().parse(), Ok(word));
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let places = FEATURES.iter().step_by(7).map(|row| row.place);
    places.flat_map(|place| [place.to_string(), place.word().to_string()]).map(String::into_bytes).collect()
}
