//! `docs/xstate.md` says what the code does: its table of components is written from [`COMPONENTS`], its numbers are tested
//! in `configurations.rs` and `areas.rs`.
//!
//! `SELFSAME_BLESS=1` rewrites the table.

use std::fmt::Write;

use selfsame_xstate::COMPONENTS;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/xstate.md");
const BEGIN: &str = "<!-- components: written by crates/xstate/tests/xstate_doc.rs -->\n";
const END: &str = "<!-- components: end -->\n";

fn table() -> String {
    let mut out = String::from(
        "| # | name | class | owner | bytes | aligned | Intel | AMD | source |\n|--:|---|---|---|--:|---|--:|--:|---|\n",
    );
    for row in &COMPONENTS {
        let (index, name, class, owner) = (row.component.index(), row.name, row.class.name(), row.owner.name());
        let number = |value: Option<u32>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        let (size, intel, amd) = (number(row.size_bytes), number(row.intel), number(row.amd));
        let aligned = match row.is_aligned64 {
            Some(true) => "yes",
            Some(false) => "no",
            None => "-",
        };
        let _ = writeln!(
            out,
            "| {index} | `{name}` | {class} | {owner} | {size} | {aligned} | {intel} | {amd} | {} |",
            row.source
        );
    }
    out
}

#[test]
fn the_table_of_components_is_the_codes() {
    let text = std::fs::read_to_string(FILE).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    let table = table();
    if std::env::var_os("SELFSAME_BLESS").is_some() {
        std::fs::write(FILE, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(written, table, "SELFSAME_BLESS=1 cargo test -p selfsame-xstate --test xstate_doc rewrites it");
}
