//! Policy files.

use selfsame_cpuid::{Kind, PolicyFile};

use crate::check::with_check;
use crate::{Target, seeds};

/// The target.
pub const TARGET: Target = Target {
    name: "policy",
    run,
    seeds,
    words: &[
        "\nname ",
        "\nkind kvm\n",
        "\nkind hvm-shadow\n",
        "\nsource cpuid\n",
        "\ncontext a=b\n",
        "\ntopology sockets=1 cores=8 threads=2\n",
        " dies=2 modules=2",
        "\nleaf 0000",
        "\nmsr  0000",
        " --  ",
        " # ",
    ],
    max_len_bytes: 2048,
};

/// Reads the bytes as they are, and with the check that their lines ask for.
pub fn run(bytes: &[u8]) {
    assert_is_written_back(bytes);
    if let Some(checked) = with_check(bytes).filter(|checked| checked != bytes) {
        assert_is_written_back(&checked);
    }
}

/// What is taken says what is written of it, and is the same bytes but for comments and empty lines.
fn assert_is_written_back(bytes: &[u8]) {
    let Ok(file) = PolicyFile::parse(bytes) else { return };
    let mut text = String::new();
    file.write(&mut text).expect("what was read from a line can be written in one");
    assert_eq!(PolicyFile::parse(text.as_bytes()).as_ref(), Ok(&file));
    let is_commented = bytes.contains(&b'#') || bytes.windows(2).any(|pair| pair == b"\n\n");
    assert!(is_commented || text.as_bytes() == bytes);
}

fn seeds() -> Vec<Vec<u8>> {
    let policies = Kind::ALL.into_iter().flat_map(|kind| seeds::policies(kind).into_iter().step_by(3));
    let files = policies.map(|mut policy| {
        policy.topology = "sockets=1 dies=2 cores=8 threads=2".parse().ok();
        let mut text = String::new();
        let file = PolicyFile { name: "guest", source: Some("cpuid"), context: Some("kernel=6.1"), policy };
        file.write(&mut text).expect("a policy of our own is written");
        text.into_bytes()
    });
    files.collect()
}
