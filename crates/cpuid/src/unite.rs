//! One host from its logical CPUs: a vCPU runs on any of them.

use crate::feature::Relation;
use crate::finding::What;
use crate::leaves::Leaves;
use crate::model::WORDS;
use crate::place::{Place, Word};
use crate::table::{self, NUMBERS};

/// The raw leaves of a host whose logical CPUs say what `cpus` say: the level of the CPUs.
///
/// A feature counts where every CPU has it, or, for one that warns, where any has it; numbers are the least or the
/// greatest; what describes, or belongs to one CPU, is that of the first. `differs` is called once for each feature and
/// number that the CPUs do not agree on. `None` for a host without CPUs.
///
/// ```
/// use selfsame_cpuid::{Leaves, Regs, unite};
///
/// let (mut big, mut little) = (Leaves::new(), Leaves::new());
/// big.set(7, 0, Regs::new(0, 1 << 5 | 1 << 16, 0, 0))?; // AVX2, AVX-512F
/// little.set(7, 0, Regs::new(0, 1 << 5, 0, 0))?;
/// let mut names = Vec::new();
/// let host = unite([&big, &little], |what| names.push(what.to_string())).unwrap();
/// assert_eq!(host.get(7, 0).ebx, 1 << 5);
/// assert_eq!(names, ["avx512f"]);
/// # Ok::<(), selfsame_cpuid::OutsideModel>(())
/// ```
pub fn unite<'a>(cpus: impl IntoIterator<Item = &'a Leaves>, mut differs: impl FnMut(What)) -> Option<Leaves> {
    const ALL: [u32; WORDS] = table::covered_by(Relation::All);
    let mut cpus = cpus.into_iter();
    let mut host = cpus.next()?.clone();
    let mut different_bits = [0u32; WORDS];
    let mut different_numbers = 0u64;
    for cpu in cpus {
        for (i, number) in NUMBERS.iter().enumerate() {
            let at = number.word();
            let (mine, theirs) = (host.words()[at], cpu.words()[at]);
            different_numbers |= u64::from(!number.is_same(mine, theirs)) << i;
            host.words_mut()[at] = number.combine(mine, theirs).0;
        }
        let words = host.words_mut().iter_mut().zip(cpu.words()).zip(&mut different_bits);
        for (((mine, theirs), different), (all, any)) in words.zip(ALL.iter().zip(&table::ANY)) {
            *different |= (*mine ^ theirs) & (all | any);
            *mine = (*mine & !(all | any)) | (*mine & theirs & all) | ((*mine | theirs) & any);
        }
    }
    for (word, bits) in Word::all().zip(different_bits) {
        for place in (0..32).filter(|bit| bits >> bit & 1 == 1).filter_map(|bit| Place::new(word, bit)) {
            if table::feature_at(place).is_some() {
                differs(What::Feature(place));
            }
        }
    }
    for (_, number) in NUMBERS.iter().enumerate().filter(|(i, _)| different_numbers >> i & 1 == 1) {
        differs(What::Value(number.row().name));
    }
    Some(host)
}
