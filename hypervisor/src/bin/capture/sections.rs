//! Writes the rows of several CPUs as sections of a capture, without an allocator.
//!
//! The order is the one form that captures have (`selfsame_formats::write_capture`, which the tests compare with): rows
//! of the same set of CPUs stand together, the largest set first, then by the first CPU, then by the set as it is
//! spelled.

use core::cmp::Reverse;
use core::fmt::{self, Write};

use selfsame_cpuid::text::{Statement, TextWriter};
use selfsame_hypervisor::MAX_CPUS;

/// The rows of one CPU, in the order of a capture.
pub(crate) type Rows<'a> = &'a [Statement<'static>];

/// Writes all sections; CPUs are numbered from 0 and beyond [`MAX_CPUS`] left out.
pub(crate) fn write<W: Write>(writer: &mut TextWriter<W>, cpus: &[Rows<'_>]) -> fmt::Result {
    let mut sets = [Set(0); 1 << MAX_CPUS];
    for (set, bits) in sets.iter_mut().zip(0..) {
        *set = Set(bits);
    }
    sets.sort_unstable_by_key(|set| (Reverse(set.len()), set.first(), set.spelled()));
    for set in sets {
        let Some(rows) = set.first().and_then(|first| cpus.get(first)) else { continue };
        let mut rows = rows.iter().filter(|row| owners(cpus, row) == set).peekable();
        if rows.peek().is_some() {
            writer.statement(&Statement::Cpu(set.spelled().as_str()))?;
        }
        for row in rows {
            writer.statement(row)?;
        }
    }
    Ok(())
}

/// The CPUs that have a row.
fn owners(cpus: &[Rows<'_>], row: &Statement<'static>) -> Set {
    let bits = cpus.iter().zip(0..MAX_CPUS).filter(|(rows, _)| rows.contains(row)).map(|(_, cpu)| 1 << cpu);
    Set(bits.sum())
}

/// A set of CPUs, one bit each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Set(u8);

const _: () = assert!(MAX_CPUS <= 8, "a set has a bit for every CPU");

impl Set {
    fn len(self) -> u32 {
        self.0.count_ones()
    }

    fn has(self, cpu: usize) -> bool {
        self.0 >> cpu & 1 == 1
    }

    fn first(self) -> Option<usize> {
        (0..MAX_CPUS).find(|&cpu| self.has(cpu))
    }

    /// The set as a capture spells it, `0-1,3`.
    fn spelled(self) -> Spelled {
        let mut text = Spelled::default();
        let mut separator = b"".as_slice();
        let mut cpu = 0;
        while cpu < MAX_CPUS {
            let run = (cpu..MAX_CPUS).take_while(|&cpu| self.has(cpu)).count();
            if run > 0 {
                text.push(separator);
                text.push(&digit(cpu));
                separator = b",";
            }
            if run > 1 {
                text.push(b"-");
                text.push(&digit(cpu + run - 1));
            }
            cpu += run + 1;
        }
        text
    }
}

fn digit(cpu: usize) -> [u8; 1] {
    [u8::try_from(cpu).map_or(b'?', |cpu| b'0' + cpu)]
}

/// A short text. It orders as text does: behind its end are zeros.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd)]
struct Spelled {
    bytes: [u8; 2 * MAX_CPUS],
    len: usize,
}

impl Spelled {
    fn push(&mut self, bytes: &[u8]) {
        for (place, &byte) in self.bytes.iter_mut().skip(self.len).zip(bytes) {
            *place = byte;
            self.len += 1;
        }
    }

    fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use selfsame_cpuid::Regs;
    use selfsame_cpuid::text::Document;

    const VENDOR: Regs = Regs::new(0x24, 0x756e_6547, 0x6c65_746e, 0x4965_6e69);

    /// Each CPU has the leaf or the MSR or not, in one of a few values.
    fn cpus() -> impl Strategy<Value = Vec<Vec<Statement<'static>>>> {
        let leaf = |leaf, subleaf| {
            let value = proptest::option::of(1_u32..3);
            value.prop_map(move |value| Some(Statement::Leaf(leaf, subleaf, Regs::new(0, 0, 0, value?))))
        };
        let msr = |index| {
            proptest::option::of(proptest::option::of(0_u64..2))
                .prop_map(move |value| Some(Statement::Msr(index, value?)))
        };
        let rows = (leaf(2, None), leaf(4, Some(0)), leaf(4, Some(1)), leaf(7, Some(0)), msr(0xce), msr(0x10a));
        let cpu = rows.prop_map(|(a, b, c, d, e, f)| {
            let first = [Statement::Leaf(0, None, VENDOR), Statement::Leaf(1, None, Regs::new(0x806f8, 0, 0, 1))];
            first.into_iter().chain([a, b, c, d, e, f].into_iter().flatten()).collect()
        });
        proptest::collection::vec(cpu, 1..=MAX_CPUS)
    }

    proptest! {
        #[test]
        fn a_capture_is_byte_for_byte_what_the_formats_write_of_it(cpus in cpus()) {
            let rows: Vec<Rows<'_>> = cpus.iter().map(Vec::as_slice).collect();
            let mut writer = TextWriter::begin(String::new(), Document::Capture).unwrap();
            writer.statement(&Statement::Name("unnamed")).unwrap();
            writer.statement(&Statement::Source("cpuid")).unwrap();
            write(&mut writer, &rows).unwrap();
            let text = writer.end().unwrap();
            let dump = selfsame_formats::read(text.as_bytes(), "", None).unwrap();
            prop_assert_eq!(dump.cpus.len(), cpus.len());
            prop_assert_eq!(selfsame_formats::write_capture(&dump), text);
        }
    }

    #[test]
    fn sets_are_spelled_as_ranges() {
        for (bits, text) in
            [(0b1, "0"), (0b11, "0-1"), (0b101, "0,2"), (0b1111, "0-3"), (0b1011, "0-1,3"), (0b1000, "3")]
        {
            assert_eq!(Set(bits).spelled().as_str(), text);
        }
    }
}
