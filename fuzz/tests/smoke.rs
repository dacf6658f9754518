//! Every target, for a moment: its seeds as they are, and inputs that a generator makes of them.
//!
//! `cargo xtask fuzz` runs the same targets under libFuzzer, which looks where the inputs get to.

#![expect(clippy::unwrap_used, reason = "a panic in a test is the failure itself")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use selfsame_fuzz::{TARGETS, Target};

/// How many inputs are made for each target.
const INPUTS: usize = 2_000;

/// A stream of numbers that follows from its seed.
struct Dice(u64);

impl Dice {
    /// SplitMix64, as far as below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((word ^ (word >> 31)) % (bound.max(1) as u64)).unwrap()
    }

    /// A part of some bytes, which may be empty.
    fn part(&mut self, len: usize, most: usize) -> std::ops::Range<usize> {
        let start = self.below(len + 1);
        start..(start + self.below(most)).min(len)
    }

    /// Changes an input in one place.
    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>], target: &Target) {
        match self.below(6) {
            0 if !input.is_empty() => {
                let at = self.below(input.len());
                input[at] ^= 1 << self.below(8);
            }
            1 if !input.is_empty() => {
                let at = self.below(input.len());
                input[at] = b"\0\xff 0f9:-=,'<\n"[self.below(13)];
            }
            2 => drop(input.drain(self.part(input.len(), 40))),
            3 => {
                let (at, part) = (self.below(input.len() + 1), self.part(input.len(), 80));
                let part = input[part].to_vec();
                input.splice(at..at, part);
            }
            4 if !target.words.is_empty() => {
                let (at, word) = (self.below(input.len() + 1), target.words[self.below(target.words.len())]);
                input.splice(at..at, word.bytes());
            }
            _ => {
                let other = &seeds[self.below(seeds.len())];
                let (place, part) = (self.part(input.len(), 200), self.part(other.len(), 200));
                input.splice(place, other[part].iter().copied());
            }
        }
    }
}

fn run(target: &Target, input: &[u8]) {
    let result = catch_unwind(|| (target.run)(input));
    assert!(result.is_ok(), "{} breaks on {}", target.name, input.escape_ascii());
}

#[test]
fn every_target_takes_whatever_is_made_of_its_seeds() {
    for (number, target) in TARGETS.iter().enumerate() {
        let seeds = (target.seeds)();
        let mut dice = Dice(number as u64);
        for _ in 0..INPUTS {
            let mut input = seeds[dice.below(seeds.len())].clone();
            for _ in 0..=dice.below(4) {
                dice.change(&mut input, &seeds, target);
            }
            input.truncate(target.max_len_bytes);
            run(target, &input);
        }
    }
}

#[test]
fn every_seed_is_taken_by_its_target() {
    for target in TARGETS {
        for seed in [Vec::new()].into_iter().chain((target.seeds)()) {
            run(target, &seed);
        }
    }
}

#[test]
fn every_target_has_a_binary_of_its_name_and_seeds() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("libfuzzer/Cargo.toml")).unwrap();
    let bins = manifest.split("[[bin]]\nname = \"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let names: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(bins.collect::<BTreeSet<_>>(), names);
    assert_eq!(names.len(), TARGETS.len());
    assert!(TARGETS.iter().all(|target| !(target.seeds)().is_empty()));
}
