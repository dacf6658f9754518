//! One host from its logical CPUs: a vCPU runs on any of them.

use selfsame_xstate::{Component, ComponentSet};

use crate::feature::Relation;
use crate::finding::What;
use crate::leaves::Leaves;
use crate::model::WORDS;
use crate::place::Register;
use crate::table::{self, NUMBERS};
use crate::vendor::Signature;

/// The raw leaves of a host whose logical CPUs say what `cpus` say: the level of the CPUs.
///
/// A feature counts where every CPU has it, or, for one that warns, where any has it; numbers are the least or the
/// greatest, signature and highest leaves the least; what describes, or belongs to one CPU, is that of the first.
/// `differs` is called once for each feature, number and state that the CPUs do not agree on. `None` for a host without
/// CPUs.
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
    const ANY: [u32; WORDS] = table::covered_by(Relation::Any);
    let mut cpus = cpus.into_iter();
    let mut host = cpus.next()?.clone();
    let (mut on_all, mut on_any) = (host.features(), host.features());
    let mut different_numbers = 0u64;
    let mut different_states = ComponentSet::EMPTY;
    for cpu in cpus {
        on_all &= cpu.features();
        on_any |= cpu.features();
        for (i, number) in NUMBERS.iter().enumerate() {
            let at = number.word();
            let (mine, theirs) = (host.words()[at], cpu.words()[at]);
            different_numbers |= u64::from(!number.is_same(mine, theirs)) << i;
            host.words_mut()[at] = number.combine(mine, theirs).0;
        }
        different_states |= unite_states(&mut host, cpu);
        unite_heads(&mut host, cpu);
        let words = host.words_mut().iter_mut().zip(cpu.words());
        for ((mine, theirs), (all, any)) in words.zip(ALL.iter().zip(&ANY)) {
            *mine = (*mine & (theirs | !all)) | (theirs & any);
        }
    }
    for place in (on_any - on_all).iter() {
        if table::feature_at(place).is_some_and(|row| matches!(row.relation, Relation::All | Relation::Any)) {
            differs(What::Feature(place));
        }
    }
    for (_, number) in NUMBERS.iter().enumerate().filter(|(i, _)| different_numbers >> i & 1 == 1) {
        differs(What::Value(number.row().name));
    }
    for component in different_states {
        differs(What::Components(ComponentSet::EMPTY.with(component)));
    }
    Some(host)
}

/// Keeps the states that both CPUs have; returns those whose rows differ, which neither keeps.
fn unite_states(host: &mut Leaves, cpu: &Leaves) -> ComponentSet {
    let is_other = |component: &Component| host.state_row(*component) != cpu.state_row(*component);
    let both = (host.xcr0() & cpu.xcr0()) | (host.xss() & cpu.xss());
    let different: ComponentSet = both.minus(ComponentSet::LEGACY).iter().filter(is_other).collect();
    let (user, supervisor) = (host.xcr0() & cpu.xcr0(), host.xss() & cpu.xss());
    host.set_states(user.minus(different), supervisor.minus(different));
    different
}

/// Takes the least highest leaves and the least signature.
fn unite_heads(host: &mut Leaves, cpu: &Leaves) {
    for leaf in [0x0, 0x7, 0x8000_0000] {
        let least = host.get(leaf, 0).eax.min(cpu.get(leaf, 0).eax);
        host.change(leaf, 0, Register::Eax, |_| least);
    }
    let signatures = [host.word(table::SIGNATURE), cpu.word(table::SIGNATURE)];
    *host.word_mut(table::SIGNATURE) = Signature::least(signatures);
}
