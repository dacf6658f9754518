//! Gives programs for bare metal their link arguments; programs for a host keep the usual ones. Gives the hypervisor the disk
//! image of its guest.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Names the disk image of the guest; without it, the hypervisor is built with none, and runs none.
const GUEST_IMAGE: &str = "SELFSAME_GUEST_IMAGE";

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

fn main() -> io::Result<()> {
    println!("cargo::rustc-check-cfg=cfg(bare)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=link.ld");
    println!("cargo::rerun-if-env-changed={GUEST_IMAGE}");
    let guest_image = match env::var_os(GUEST_IMAGE) {
        Some(path) => PathBuf::from(path),
        None => no_image()?,
    };
    println!("cargo::rerun-if-changed={}", guest_image.display());
    println!("cargo::rustc-env={GUEST_IMAGE}={}", guest_image.display());
    if env::var_os("CARGO_CFG_BARE").is_none() {
        return Ok(());
    }
    for argument in ARGUMENTS {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("link.ld");
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
    Ok(())
}

/// An empty file.
fn no_image() -> io::Result<PathBuf> {
    let path = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("no-guest.img");
    fs::write(&path, [])?;
    Ok(path)
}
