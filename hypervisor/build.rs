//! Gives programs for bare metal their link arguments; programs for a host keep the usual ones.

use std::env;
use std::path::Path;

const ARGUMENTS: [&str; 9] = [
    "-nostartfiles",
    "-nostdlib",
    "-static",
    "-no-pie",
    // Segments need not begin on pages of the file: the image packer and QEMU's loader do not map it.
    "-Wl,-n",
    "-Wl,--gc-sections",
    "-Wl,--build-id=none",
    "-Wl,--no-eh-frame-hdr",
    "-Wl,-z,norelro",
];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(bare)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=link.ld");
    if env::var_os("CARGO_CFG_BARE").is_none() {
        return;
    }
    for argument in ARGUMENTS {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("link.ld");
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
}
