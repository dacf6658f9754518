//! `diff`: in what two hosts or policies differ.

use std::collections::BTreeSet;

use selfsame_cpuid::{
    FEATURES, Featureset, KEPT_LEAVES, Leaves, Place, Register, Regs, Relation, VALUES, Value, Word, feature,
    feature_at,
};
use serde::Serialize;

use crate::Verdict;
use crate::args::DiffArguments;
use crate::host::{Machine, Origin, brand, load_one, vendor};
use crate::json::{SCHEMA, SideMember, hex, print_document};
use crate::names::folded;
use crate::problem::Problem;
use crate::sources::Sources;
use crate::terminal::{Page, count, print, short};

#[derive(Debug, Serialize)]
struct DiffDocument {
    schema: u32,
    a: String,
    b: String,
    only_a: Vec<&'static str>,
    only_b: Vec<&'static str>,
    values: Vec<ValueDifference>,
    leaves: Vec<LeafDifference>,
}

#[derive(Debug, Serialize)]
struct ValueDifference {
    name: String,
    a: SideMember,
    b: SideMember,
}

#[derive(Debug, Serialize)]
struct LeafDifference {
    leaf: String,
    subleaf: Option<u32>,
    a: [String; 4],
    b: [String; 4],
    reason: &'static str,
}

pub(crate) fn run(arguments: &DiffArguments) -> Result<Verdict, Problem> {
    let sources = Sources::of(&arguments.sources)?;
    let (a, b) = (load_one(&arguments.a, &sources)?, load_one(&arguments.b, &sources)?);
    let (set_a, set_b) = (a.raw().features(), b.raw().features());
    let document = DiffDocument {
        schema: SCHEMA,
        only_a: names(&(set_a - set_b)),
        only_b: names(&(set_b - set_a)),
        values: values(&a, &b),
        leaves: leaves(&a.raw(), &b.raw()),
        a: a.label(&b.name),
        b: b.label(&a.name),
    };
    let output = arguments.output;
    if output.json {
        print_document(&document)?;
    } else if output.quiet {
        let DiffDocument { only_a, only_b, values, leaves, .. } = &document;
        let (a, b) = (count(only_a.len(), "feature"), count(only_b.len(), "feature"));
        let (values, leaves) = (count(values.len(), "value"), count(leaves.len(), "leaf row"));
        print(&format!("{a} only in {}, {b} only in {}, {values} and {leaves} differ\n", document.a, document.b))?;
    } else {
        page(&document, output.verbose)?;
    }
    Ok(Verdict::Done)
}

fn names(set: &Featureset) -> Vec<&'static str> {
    set.iter().filter_map(feature_at).map(|row| row.name).collect()
}

/// The bits of a field that have no row of their own.
fn own_mask(row: &Value) -> u32 {
    let is_named = |place: &Place| place.word() == row.word;
    row.mask() & !FEATURES.iter().map(|row| row.place).filter(is_named).fold(0, |mask, place| mask | place.mask())
}

fn values(a: &Machine, b: &Machine) -> Vec<ValueDifference> {
    let mut values = Vec::new();
    let mut compare = |name: &str, a: SideMember, b: SideMember| {
        if a != b {
            values.push(ValueDifference { name: name.to_owned(), a, b });
        }
    };
    let text = |text: String| SideMember::Text(text);
    if let (Origin::Policy(kind_a, topology_a), Origin::Policy(kind_b, topology_b)) = (a.origin, b.origin) {
        let topology = |topology: Option<selfsame_cpuid::Topology>| {
            topology.map_or(SideMember::Nothing(()), |topology| SideMember::Text(topology.to_string()))
        };
        compare("kind", text(kind_a.to_string()), text(kind_b.to_string()));
        compare("topology", topology(topology_a), topology(topology_b));
    }
    compare("vendor", text(vendor(&a.raw())), text(vendor(&b.raw())));
    let (one, other) = (a.raw().signature(), b.raw().signature());
    let number = |number: u32| SideMember::Number(number);
    compare("family", number(one.family.into()), number(other.family.into()));
    compare("model", number(one.model.into()), number(other.model.into()));
    compare("stepping", number(one.stepping.into()), number(other.stepping.into()));
    compare("brand", text(brand(&a.raw())), text(brand(&b.raw())));
    for row in &VALUES {
        let is_bits = matches!(row.relation, Relation::All | Relation::Any);
        let is_told = row.name.contains("vendor-") || row.name.ends_with("signature");
        if is_told || row.relation == Relation::Dynamic {
            continue;
        }
        let get = |leaves: &Leaves| {
            let word = leaves.word(row.word);
            match own_mask(row) {
                0 => SideMember::Nothing(()),
                mask if is_bits => SideMember::Text(hex(u64::from(row.get(word & mask)))),
                _ => SideMember::number(row, row.get(word)),
            }
        };
        compare(row.name, get(&a.raw()), get(&b.raw()));
    }
    values
}

/// The rows of leaves without named bits that differ.
fn leaves(a: &Leaves, b: &Leaves) -> Vec<LeafDifference> {
    let places: BTreeSet<(u32, Option<u32>)> =
        a.rows().chain(b.rows()).map(|(leaf, subleaf, _)| (leaf, subleaf)).collect();
    let registers = |regs: Regs| regs.to_array().map(|register| hex(u64::from(register)));
    places
        .into_iter()
        .filter(|&(leaf, subleaf)| Word::find(leaf, subleaf.unwrap_or(0), Register::Eax).is_none())
        // The brand is told as a value.
        .filter(|(leaf, _)| !matches!(leaf, 0x8000_0002..=0x8000_0004))
        .map(|(leaf, subleaf)| (leaf, subleaf, a.get(leaf, subleaf.unwrap_or(0)), b.get(leaf, subleaf.unwrap_or(0))))
        .filter(|(.., one, other)| one != other)
        .map(|(leaf, subleaf, one, other)| LeafDifference {
            leaf: format!("{leaf:08x}"),
            subleaf,
            a: registers(one),
            b: registers(other),
            reason: KEPT_LEAVES
                .iter()
                .find(|row| row.leaf == leaf)
                .map_or("what a hypervisor says of itself", |row| row.reason),
        })
        .collect()
}

/// The names without those that only follow from others.
fn own(names: &[&'static str], is_verbose: bool) -> Vec<&'static str> {
    let is_derived = |name: &str| feature(name).is_some_and(|row| row.relation == Relation::Derived);
    names.iter().copied().filter(|name| is_verbose || !is_derived(name)).collect()
}

fn page(document: &DiffDocument, is_verbose: bool) -> Result<(), Problem> {
    let DiffDocument { a, b, only_a, only_b, values, leaves, .. } = document;
    let mut page = Page::new();
    if only_a.is_empty() && only_b.is_empty() && values.is_empty() && leaves.is_empty() {
        page.line(format_args!("{a} and {b} do not differ."));
        return page.print();
    }
    if only_a.is_empty() && only_b.is_empty() {
        page.line(format_args!("{a} and {b} have the same features."));
    }
    for (name, only) in [(a, own(only_a, is_verbose)), (b, own(only_b, is_verbose))] {
        if !only.is_empty() {
            page.heading(format_args!("Only in {name}: {}", count(only.len(), "feature")));
            let names = folded(&only, is_verbose);
            page.labelled("", names.iter().map(String::as_str));
        }
    }
    if !values.is_empty() {
        page.heading("Values that differ");
        let text = |name: &str, side: &SideMember| match side {
            SideMember::Number(value) if name == "model" => format!("{value:#x}"),
            side => side.text(),
        };
        let row =
            |value: &ValueDifference| [value.name.clone(), text(&value.name, &value.a), text(&value.name, &value.b)];
        page.table(["value", &short(a), &short(b)], &values.iter().map(row).collect::<Vec<_>>());
    }
    if !leaves.is_empty() {
        page.heading("Leaves that differ");
        let mut rows: Vec<[String; 3]> = Vec::new();
        for group in leaves.chunk_by(|one, other| one.leaf == other.leaf) {
            let Some(first) = group.first() else { continue };
            let subleaves: Vec<String> = group.iter().filter_map(|row| row.subleaf).map(|n| format!("{n:x}")).collect();
            rows.push([first.leaf.clone(), subleaves.join(" "), first.reason.to_owned()]);
        }
        page.table(["leaf", "subleaves", "what it says"], &rows);
    }
    page.print()
}
