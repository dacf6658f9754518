//! Builds the programs of `hypervisor/` for bare metal, ready to be booted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::command::{CommandError, Invocation};
use crate::image::{self, ImageError};
use crate::workspace::Workspace;

/// The target, which is a Linux host's: its toolchain is there, and a program without std is bound to no system by it.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The profile, in the workspace's manifest.
pub(crate) const PROFILE: &str = "bare";

/// The package.
pub(crate) const PACKAGE: &str = "selfsame-hypervisor";

/// What the compiler is told. With a target named, cargo tells it to the programs alone, and not to build scripts.
///
/// The variable goes before the user's configuration, so that flags of theirs do not mix with these.
pub(crate) const ENV: &[(&str, &str)] = &[(
    "RUSTFLAGS",
    "--cfg bare -C relocation-model=static -C code-model=small -C no-redzone=yes -C force-unwind-tables=no",
)];

/// A program that was built.
#[derive(Debug)]
pub(crate) struct BareProgram {
    /// The ELF file, for QEMU's `-kernel`.
    pub(crate) elf: PathBuf,
    /// The disk image of it, which any BIOS boots.
    pub(crate) image: PathBuf,
}

/// Why a program was not built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum BareError {
    #[error(transparent)]
    Build(#[from] CommandError),
    #[error("{} cannot be packed: {source}", path.display())]
    Pack { path: PathBuf, source: ImageError },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// Builds one program, and packs it.
///
/// # Errors
/// When it does not build, or what was built is no image.
pub(crate) fn build(workspace: &Workspace, program: &str) -> Result<BareProgram, BareError> {
    build_with(workspace, program, &[])
}

/// The same, with variables that the program's source names.
///
/// # Errors
/// As [`build`].
pub(crate) fn build_with(
    workspace: &Workspace,
    program: &str,
    variables: &[(&str, &Path)],
) -> Result<BareProgram, BareError> {
    let lock: &[&str] = if workspace.has_lock_file() { &["--locked"] } else { &[] };
    let variables: Vec<(&str, String)> =
        variables.iter().map(|(name, path)| (*name, path.display().to_string())).collect();
    let named = variables.iter().map(|(name, value)| (*name, value.as_str()));
    let env: Vec<(&str, &str)> = ENV.iter().copied().chain(named).collect();
    Invocation::cargo(workspace)
        .args(["build", "--quiet", "--package", PACKAGE, "--bin", program, "--target", TARGET, "--profile", PROFILE])
        .args(lock)
        .run(&env)?;
    let elf = workspace.target_dir().join(TARGET).join(PROFILE).join(program);
    let packed = image::pack(&fs::read(&elf).map_err(in_file(&elf))?);
    let packed = packed.map_err(|source| BareError::Pack { path: elf.clone(), source })?;
    let image = elf.with_extension("img");
    fs::write(&image, packed).map_err(in_file(&image))?;
    Ok(BareProgram { elf, image })
}

fn in_file(path: &Path) -> impl FnOnce(io::Error) -> BareError {
    let path = path.to_owned();
    move |source| BareError::File { path, source }
}
