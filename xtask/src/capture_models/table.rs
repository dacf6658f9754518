//! The captures that are made of CPU models: one row a capture.

/// One capture: its place below the folder of the fixtures, and the machine it is of.
#[derive(Debug)]
pub(crate) struct Row {
    /// What the machine is called; the file is `NAME.capture`.
    pub(crate) name: &'static str,
    pub(crate) folder: &'static str,
    /// Bochs's name of the CPU model.
    pub(crate) model: &'static str,
    /// Features that the model lacks, in Bochs's names.
    pub(crate) add: &'static [&'static str],
    /// Features that the model has and the machine lacks.
    pub(crate) remove: &'static [&'static str],
}

const fn row(folder: &'static str, name: &'static str, model: &'static str) -> Row {
    Row { name, folder, model, add: &[], remove: &[] }
}

/// Every capture, by folder and generation.
pub(crate) const ROWS: &[Row] = &[
    row("pool", "haswell", "corei7_haswell_4770"),
    row("pool", "broadwell", "broadwell_ult"),
    row("pool", "skylake_x", "corei7_skylake_x"),
    row("pool", "icelake_u", "corei7_icelake_u"),
    row("pool", "tigerlake", "tigerlake"),
    row("pool", "sapphire_rapids", "sapphire_rapids"),
    row("amd", "zambezi", "zambezi"),
    row("amd", "trinity", "trinity_apu"),
    row("amd", "ryzen", "ryzen"),
    // No AMD model of Bochs has what Zen 4 and 5 have.
    Row {
        add: &["pku", "cet", "avx512", "avx512bw", "avx512cd", "avx512dq"],
        ..row("amd", "ryzen-cet-avx512", "ryzen")
    },
    row("old", "prescott", "p4_prescott_celeron_336"),
    row("old", "lynnfield", "corei5_lynnfield_750"),
    row("old", "venice", "athlon64_venice"),
    row("old", "toliman", "phenom_8650_toliman"),
];

#[test]
fn every_capture_has_a_name_of_its_own() {
    let names: std::collections::BTreeSet<_> = ROWS.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), ROWS.len());
}
