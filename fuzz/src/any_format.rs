//! A file of which nobody says the format.

use selfsame_formats::{Format, Reading, detect, read_all};

use crate::{TARGETS, Target};

/// The target.
pub const TARGET: Target = Target {
    name: "any_format",
    run,
    seeds,
    words: &[
        "\u{feff}",
        "\r\n",
        "selfsame 1 capture\n",
        "processor : 0\n",
        "<cpu",
        "{\"",
        "[{",
        "-cpu ",
        "CPUID 00000000: ",
    ],
    max_len_bytes: 1024,
};

/// Finds the format out and reads the bytes: what is taken is taken the same when its format is said.
pub fn run(bytes: &[u8]) {
    let Ok(machines) = read_all(bytes, "host", &Reading::default()) else { return };
    let format = detect(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)).expect("what was taken has a format");
    let reading = Reading { format: Some(format), ..Reading::default() };
    let again = read_all(bytes, "host", &reading).expect("what was taken is taken again");
    assert_eq!(again.len(), machines.len());
    for (again, machines) in again.iter().zip(&machines) {
        assert_eq!(again.names, machines.names);
        assert_eq!(again.dump(), machines.dump());
    }
}

/// Some seeds of each format.
fn seeds() -> Vec<Vec<u8>> {
    let of_dumps = TARGETS.iter().take(Format::ALL.len());
    of_dumps.flat_map(|target| (target.seeds)().into_iter().step_by(5)).collect()
}
