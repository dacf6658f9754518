//! `docs/levelling.md` is generated from the table, so that it says what the code does.
//!
//! `SELFSAME_BLESS=1` rewrites it.
#![expect(clippy::panic, reason = "a helper that panics is a test that fails")]

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use selfsame_cpuid::{
    FEATURES, Feature, KEPT_LEAVES, Kind, Offer, Relation, Rule, VALUES, Value, WordSource, feature_at,
};

mod table_differences;

use table_differences::EdgeDifference;
use table_differences::libvirt::LIBVIRT_RULES;
use table_differences::linux::LINUX_EDGES;
use table_differences::qemu::QEMU_EDGES;
use table_differences::xen::{LOST_WITH, XEN_EDGES, XEN_ROWS};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/levelling.md");

const INTRODUCTION: &str = "\
<!-- Generated from the feature table by crates/cpuid/tests/levelling_doc.rs. Do not edit: edit the table, then run
     SELFSAME_BLESS=1 cargo test -p selfsame-cpuid --test levelling_doc -->

# Levelling

What CPU can a guest be given that is to run on any host of a pool, and may a guest that runs already move to this
host? Both are answered by one table with a row for each bit of CPUID, and of the MSRs that describe a CPU, that a
manual names. This page is that table, after the rules that its columns stand for.

## From hardware to guest

For each kind of guest a host passes through four policies:

1. **raw**: what its CPUs say. CPUs of one host that differ are united first.
2. **host**: raw without what is no property of the CPU (topology, what the dumping kernel enabled, serial numbers, bits
   without a row), with the words of `cpuid=` for the host applied and everything removed whose prerequisites are missing.
3. **max**: what a guest *may* have here that saw it elsewhere before. Guests are checked against it.
4. **default**: what a *new* guest sees here. Pools are levelled over it. Default is a subset of max.

Levelling and checking are therefore two relations: the level of a pool is made of the defaults of its hosts, and every
host's max accepts it. Whatever an operation removes, it removes everything that needs it as well, and rebuilds what
follows: leaf 0xD, the copies of leaf 1 in leaf 0x80000001, and the highest leaves.

There are four kinds of guest: `kvm` is any guest of Linux KVM, whatever runs it; `hvm` is a Xen HVM or PVH guest with
hardware-assisted paging; `hvm-shadow` is a Xen HVM guest on shadow page tables; `pv` is a Xen PV guest.
";

/// What each relation does: its name, how it levels, and what a check refuses.
const fn relation_meaning(relation: Relation) -> (&'static str, &'static str) {
    match relation {
        Relation::All => ("every host must have it: AND", "a guest that has it on a host whose max has not"),
        Relation::Any => (
            "one host is enough: OR where the kind's offer is *anywhere* or *made*; elsewhere AND, and a warning names the \
             hosts that need it",
            "nothing; a guest that lacks what the host's default has is a finding, `unsafe-here`, and refused with \
             `--strict` only",
        ),
        Relation::Min => ("the least", "a guest whose number is greater than the host's"),
        Relation::Max => ("the greatest", "a guest whose number is less than the host's; zero says nothing"),
        Relation::Equal => (
            "hosts must agree, or there is no level; zero says nothing, and agrees with all",
            "a guest that differs from the host",
        ),
        Relation::Derived => ("rebuilt from the rest of the policy", "nothing"),
        Relation::Descriptive => ("whole, from the first host in name order that has it", "nothing"),
        Relation::Dynamic => ("not at all: answered at the exit from the state of the vCPU", "nothing"),
        Relation::Local => ("not at all: it belongs to one machine, and a policy reads zero", "nothing"),
    }
}

const RELATIONS: [Relation; 9] = [
    Relation::All,
    Relation::Any,
    Relation::Min,
    Relation::Max,
    Relation::Equal,
    Relation::Derived,
    Relation::Descriptive,
    Relation::Dynamic,
    Relation::Local,
];

const fn offer_meaning(offer: Offer) -> (&'static str, &'static str) {
    match offer {
        Offer::Hardware => ("where the host has it", "where the host has it"),
        Offer::Made => ("everywhere: the hypervisor makes it", "everywhere"),
        Offer::Anywhere => ("everywhere: it does no harm without hardware", "where the host has it"),
        Offer::Request => ("where the host has it", "where the host has it and it was asked for"),
        Offer::Never => ("nowhere", "nowhere"),
    }
}

const OFFERS: [Offer; 5] = [Offer::Hardware, Offer::Made, Offer::Anywhere, Offer::Request, Offer::Never];

const RULES_OF_THEIR_OWN: &str = "
## Rules of their own

What no row can say alone, because it depends on the model of the CPU or on two features at once:

* **RSBA and RRSBA** both say that return predictions are not safe, to guests with and without enhanced IBRS. A pool, or
  a host, with either is unsafe for every guest that may come there. Guests of Xen kinds that see `arch-capabilities` are
  told by the one bit that they can read: `rrsba` where they see `ibrs-all`, `rsba` where they do not; max holds both.
  `kvm` guests get what the host has.
* **RTM and RTM_ALWAYS_ABORT**, Xen kinds on Intel: where RTM works, max holds both, for the second means to a Xen guest
  that XBEGIN does not fault. A default holds one of them: `rtm-always-abort`, without `rtm` and `hle`, where the host's
  transactions always abort, and `rtm` elsewhere.
* **CLWB**, Xen kinds: max has it, the default of Skylake-X, Cascade Lake and Cooper Lake (06-55) does not, because
  microcode against gather sampling makes it slow there (XSA-435).
* **RDRAND**, Xen kinds: the default of Ivy Bridge clients (06-3A) does not have it, for they leak what it gives and get no
  microcode against that (XSA-320).
* **STIBP**, Xen kinds: who sees `spec-ctrl` sees `stibp`, and who sees `ibrs` sees `amd-stibp`, in every policy: Xen
  runs them together. A host with `spec-ctrl` also gives `ibpb`, AMD's bit, to guests on Intel.
* **The other vendor's words**, kind `kvm`: KVM says each vendor's controls in the other's words as well. On AMD,
  `spec-ctrl` where the host has `ibpb`, `amd-ibpb-ret` and `ibrs` (KVM before 6.13 did without the second, and so does
  max), `stibp` where it has `amd-stibp`, `ssbd` where it has `amd-ssbd`. On Intel, `ibpb` and `ibrs` where it has
  `spec-ctrl`, `amd-stibp` for `stibp`, `amd-ssbd` for `ssbd`, `amd-no-ssb` for `ssb-no`, and `amd-ibpb-ret` where it has
  `spec-ctrl`, unless the CPU has `ibrs-all` without `pbrsb-no` (returns predicted from before the barrier).
* **VIRT_SSBD** is made on AMD's families 0x15 to 0x18, which have LS_CFG, and with `amd-ssbd`; to new HVM guests of Xen
  only where there is no `amd-ssbd`, which is better.
* **What AMD's CPUs do not say**: `null-sel-clr-base` is true from Zen 2 on (family 0x17, models from 0x30), and
  `lfence-always-serializing` wherever Linux and Xen can set the MSR bit (families from 0x10, without 0x11). Guests are told
  so; `kvm` guests where KVM shows leaf 0x80000021, from family 0x15 on, with `no-smm-ctl-msr`.
* **Withheld by SVM**, kind `kvm`: `bus-lock-detect` and `msr-imm`.
* **Immunities**, kind `kvm` on Intel: `gds-no`, `rfds-no` and `its-no` are made on all CPUs but those that Linux knows to be
  affected, for most are older than the bits; max has `gds-no` everywhere, since microcode brings it. `taa-no` goes where
  there is no `rtm`, which says as much.
* **SRSO_US_NO** goes to PV guests with `srso-bp-spec-reduce` only: their kernels run in ring 3, too.
* **x2APIC** is in the max of PV guests and never in their default: Xen before 4.19 let them see it.
* **A vendor that nobody says**: CPUs that are known by the names of their features, such as a `<cpu>` without `<vendor>`,
  have zeros for a vendor. They level with those of any vendor and are accepted by them: QEMU gives such a guest the
  vendor of its host.
* **UMIP on AMD**, kind `kvm`: emulated through a control that Intel's CPUs have, so on AMD it needs hardware.
* **A vendor's own bits**: `arch-capabilities`, `md-clear`, `fb-clear`, `rfds-clear`, `rsba` and `rrsba` are set without
  hardware on Intel only, `verw-clear` on AMD only. KVM makes `arch-capabilities` on AMD, too, and new QEMU hides it again:
  it is in the max there, with the immunities that all of AMD's CPUs have.
* **SYSCALL in 32-bit dumps**: Intel's CPUs show it to 64-bit code alone. A raw dump of an Intel CPU that has `lm`
  without `syscall` was taken by 32-bit code, and its host has both.
* **Performance events**: leaf 0xA EBX says what is *not* there, so its bits are *any*; the length of the list, in EAX,
  is *min*.
* **VMX controls**: the half of an MSR that says which controls may be 1 holds the features. A control that is 1 by
  default (marked so below) is a feature where it may be 0: its answer is in the other half, inverted. Those other
  halves, and what CR0 and CR4 must hold, are *any*; what CR0 and CR4 may hold is *all*.
* **Family, model and stepping**: the least of the pool, so that a guest works around the errata of the oldest. It is
  never refused, and does not count where nobody said it.
* **Leaves that describe** (brand, caches, TLBs) come whole from the first host in name order that has them, so that the
  order in which hosts are added never shows. What they say of shared caches is topology and taken out.
* **maxphysaddr** never falls below 36 with PAE or PSE36, or below 32.
* **The highest leaves** are the least that cover what is not zero, and 0xB with x2APIC; they never fall below what a
  running guest saw.
* **Components of extended state** must be of one size and lie in one place on all hosts, if the level's features use
  them. XCR0 is never levelled by itself: it follows from the features.
";

const DIFFERENCES: &str = "
## Where the table differs from Xen, Linux and QEMU

Tests hold the table against the published tables of all three and fail for a difference that is not listed here, and
for one that is listed and no longer there. Prerequisites that the table has and they have not are not listed.

Xen's letters: `A` all guests, `S` all HVM guests, `H` HVM guests with hardware-assisted paging, small letters on request
only, `!` decided by code, `|` accumulated over a pool. Ours: the relation, and the offers to hvm, hvm-shadow and pv.
";

/// Escapes what Markdown would take for its own.
fn escaped(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let is_word = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|c| c.is_alphanumeric());
    let mut out = String::new();
    for (at, &c) in chars.iter().enumerate() {
        let is_inside_word = is_word(at.checked_sub(1)) && is_word(Some(at + 1));
        if matches!(c, '|' | '\\' | '`' | '*' | '<' | '>' | '[' | ']') || c == '_' && !is_inside_word {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A name as code. In a table even code must escape the bar.
fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", text.replace('|', "\\|")) }
}

/// A table with its columns, after an empty line.
fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut out = format!("\n| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    for row in rows {
        assert_eq!(row.len(), columns.len());
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
    out
}

fn meanings() -> String {
    let mut out = String::from("\n## Relations\n\nHow the values of several hosts combine.\n");
    out += &table(
        &["relation", "levels to", "a check refuses"],
        RELATIONS.map(|relation| {
            let (levels, refuses) = relation_meaning(relation);
            vec![relation.name().to_owned(), levels.to_owned(), refuses.to_owned()]
        }),
    );
    out += "\n## Offers\n\nWhether a hypervisor gives a feature to guests of one kind.\n";
    out += &table(
        &["offer", "max has it", "default has it"],
        OFFERS.map(|offer| {
            let (max, default) = offer_meaning(offer);
            vec![offer.name().to_owned(), max.to_owned(), default.to_owned()]
        }),
    );
    out += "\n## Reasons for a refusal or a loss\n\nThe list is closed.\n";
    let rules = Rule::ALL.map(|rule| vec![code(rule.name()), escaped(rule.meaning())]);
    out + &table(&["rule", "meaning"], rules)
}

fn edges(title: &str, edges: &[EdgeDifference]) -> String {
    let rows = edges.iter().map(|edge| vec![code(edge.feature), code(edge.needs), escaped(edge.why)]);
    format!("\n{title}\n{}", table(&["feature", "needs there", "why not here"], rows))
}

fn differences() -> String {
    let mut out = DIFFERENCES.to_owned();
    let rows = XEN_ROWS.iter().map(|row| vec![code(row.xen), code(row.theirs), code(row.ours), escaped(row.why)]);
    out += &table(&["Xen's name", "Xen", "here", "why"], rows);
    out += &edges("Prerequisites that Xen keeps and the table does not:", &XEN_EDGES);
    out += "\nFeatures with a name in Xen that go with a key of Xen's table, where their number differs:\n";
    let lost =
        LOST_WITH.iter().map(|row| vec![code(row.key), row.theirs.to_string(), row.ours.to_string(), escaped(row.why)]);
    out += &table(&["without", "Xen loses", "we lose", "why"], lost);
    out += &edges("Prerequisites that Linux keeps and the table does not:", &LINUX_EDGES);
    out + &edges("Prerequisites that QEMU keeps and the table does not:", &QEMU_EDGES)
}

const LIBVIRT: &str = "
## Where levels and checks differ from libvirt

libvirt's `cpu-baseline` is an AND of the names that it knows, its `cpu-compare` a comparison of sets of them. Of the
same `<cpu>` elements levels and verdicts here are the same for kind `kvm`, but for these rules; a test holds libvirt's own
cases against them.
";

fn libvirt() -> String {
    let text = |text: &str| text.replace('<', "\\<").replace('>', "\\>");
    let rows = LIBVIRT_RULES.iter().map(|rule| {
        let name = format!("**{}**", rule.name);
        vec![name, text(rule.about), text(rule.libvirt), text(rule.here)]
    });
    LIBVIRT.to_owned() + &table(&["rule", "about", "libvirt", "here"], rows)
}

fn feature_row(row: &Feature) -> Vec<String> {
    let name_of = |&place| feature_at(place).map_or_else(|| panic!("{place} has no row"), |row| code(row.name));
    let needs: Vec<_> = row.needs.iter().map(name_of).collect();
    let default_one = if row.is_default_one { ", 1 by default" } else { "" };
    let mut cells = vec![code(&row.place.to_string()), code(row.name), format!("{}{default_one}", row.relation.name())];
    cells.extend(Kind::ALL.map(|kind| row.offer_to(kind).name().to_owned()));
    cells.extend([needs.join(" "), escaped(row.reason), escaped(row.source)]);
    cells
}

/// Where a field lies: `00000001.ebx[15:8]`, in MSRs by the bits of the whole.
fn field(row: &Value) -> String {
    let (first, last) = (row.shift, row.shift + row.width_bits - 1);
    let (word, base) = match row.word.source() {
        WordSource::Msr { index, is_high } => (format!("msr:{index:08x}"), if is_high { 32 } else { 0 }),
        WordSource::Cpuid { .. } => (row.word.to_string(), 0),
    };
    if first == last {
        format!("{word}[{}]", first + base)
    } else {
        format!("{word}[{}:{}]", last + base, first + base)
    }
}

fn value_row(row: &Value) -> Vec<String> {
    let mut cells = vec![code(&field(row)), code(row.name), row.relation.name().to_owned()];
    cells.extend(row.offers.map(|offer| offer.name().to_owned()));
    cells.extend([escaped(row.reason), escaped(row.source)]);
    cells
}

/// The section that a word belongs to: its leaf or MSR. Sections order as places do.
fn section(source: WordSource) -> (bool, u32) {
    match source {
        WordSource::Cpuid { leaf, .. } => (false, leaf),
        WordSource::Msr { index, .. } => (true, index),
    }
}

/// The rows of one leaf or MSR.
#[derive(Default)]
struct Section {
    features: Vec<&'static Feature>,
    values: Vec<&'static Value>,
}

fn leaves() -> String {
    let mut sections: BTreeMap<(bool, u32), Section> = BTreeMap::new();
    for row in &FEATURES {
        sections.entry(section(row.place.word().source())).or_default().features.push(row);
    }
    for row in &VALUES {
        sections.entry(section(row.word.source())).or_default().values.push(row);
    }
    let mut out = format!(
        "\n## The table\n\n{} features, {} fields that are numbers or sets without names, and {} leaves that are only kept. \
         Bits without a row are never given to a guest.\n",
        FEATURES.len(),
        VALUES.len(),
        KEPT_LEAVES.len(),
    );
    for ((is_msr, number), Section { features, values }) in sections {
        let _ = writeln!(out, "\n### {} {number:#x}", if is_msr { "MSR" } else { "Leaf" });
        let kinds = Kind::ALL.map(Kind::name);
        if !features.is_empty() {
            let columns = [&["place", "name", "relation"], &kinds[..], &["needs", "reason", "source"]].concat();
            out += &table(&columns, features.into_iter().map(feature_row));
        }
        if !values.is_empty() {
            let columns = [&["bits", "field", "relation"], &kinds[..], &["reason", "source"]].concat();
            out += &table(&columns, values.into_iter().map(value_row));
        }
    }
    out
}

fn kept_leaves() -> String {
    let rows = KEPT_LEAVES.iter().map(|row| {
        let leaf = code(&format!("{:08x}", row.leaf));
        vec![leaf, row.relation.name().to_owned(), escaped(row.reason), escaped(row.source)]
    });
    let head = "\n## Leaves that are only kept\n\nWhole leaves, or the subleaves of a leaf above that it does not name. \
                Hypervisor leaves, from 0x40000000 on, are local.\n";
    head.to_owned() + &table(&["leaf", "relation", "reason", "source"], rows)
}

fn document() -> String {
    INTRODUCTION.to_owned()
        + &meanings()
        + RULES_OF_THEIR_OWN
        + &differences()
        + &libvirt()
        + &leaves()
        + &kept_leaves()
}

#[test]
fn docs_levelling_md_is_current() {
    let wanted = document();
    if env::var_os("SELFSAME_BLESS").is_some_and(|value| value == "1") {
        fs::write(FILE, &wanted).unwrap();
        return;
    }
    let found = fs::read_to_string(Path::new(FILE)).unwrap_or_default();
    let line = found.lines().zip(wanted.lines()).take_while(|(found, wanted)| found == wanted).count();
    let (stale, fresh) = (found.lines().nth(line), wanted.lines().nth(line));
    assert!(
        found == wanted,
        "docs/levelling.md is not what the table says, from line {}:\n  there: {stale:?}\n  table: {fresh:?}\nrun\n  \
         SELFSAME_BLESS=1 cargo test -p selfsame-cpuid --test levelling_doc\nand commit what it writes",
        line + 1,
    );
}

#[test]
fn every_line_of_a_table_has_the_columns_of_its_head() {
    let bars = |line: &str| line.replace("\\|", "").matches('|').count();
    let mut columns = None;
    for line in document().lines() {
        if !line.starts_with('|') {
            columns = None;
            continue;
        }
        assert_eq!(bars(line), *columns.get_or_insert(bars(line)), "{line}");
    }
}
