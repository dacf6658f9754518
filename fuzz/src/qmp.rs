//! QEMU's answers.

use selfsame_cpuid::Kind;
use selfsame_formats::Format;

use crate::{Target, law, seeds};

/// The target.
pub const TARGET: Target = Target {
    name: "qmp",
    run,
    seeds,
    words: &[
        "{\"return\": {\"model\": {\"name\": \"base\", \"props\": {",
        "}}}}",
        "\"vendor\": \"AuthenticAMD\"",
        "\"family\": 25",
        "\"model\": 17",
        "\"stepping\": 1",
        "\"phys-bits\": 46",
        "\"avx10-version\": 2",
        ": true",
        ": false",
        ", ",
    ],
    max_len_bytes: 2048,
};

/// Reads the bytes.
pub fn run(bytes: &[u8]) {
    law::of_files(bytes, Format::Qmp);
}

fn seeds() -> Vec<Vec<u8>> {
    let answer = |properties: String| {
        let cpu = r#""vendor": "GenuineIntel", "family": 6, "model": 85, "stepping": 4"#;
        format!(r#"{{"return": {{"model": {{"name": "base", "props": {{{cpu}{properties}}}}}}}}}"#)
    };
    let properties = seeds::features(Kind::Kvm).into_iter().map(|features| {
        let some = features.iter().step_by(2);
        some.map(|row| format!(r#", "{}": true"#, row.name)).collect()
    });
    properties.map(|properties| answer(properties).into_bytes()).collect()
}
