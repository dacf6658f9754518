//! A program to run: one on PATH, or one unpacked into a folder with all its libraries.

use std::env;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{self, Path, PathBuf};
use std::process::Command;

use super::bounded;

/// Where Debian puts libraries of the architecture.
const TRIPLET: &str = "x86_64-linux-gnu";

/// The dynamic loader's file name.
const LOADER: &str = "ld-linux-x86-64.so.2";

/// A program and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
    /// The folder that packages were unpacked into, when the program is not the system's.
    root: Option<PathBuf>,
}

impl Program {
    /// The first program of this name on PATH, as an absolute path, because runs have other current directories.
    pub(crate) fn installed(name: &str) -> Option<Self> {
        let path = env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| is_program(path))?;
        Some(Self { path: path::absolute(path).ok()?, root: None })
    }

    /// The program of this name in a folder that packages were unpacked into.
    pub(crate) fn unpacked(root: &Path, name: &str) -> Option<Self> {
        let path = root.join("usr/bin").join(name);
        is_program(&path).then(|| Self { path, root: Some(root.to_owned()) })
    }

    /// The folder that packages were unpacked into, when the program is not the system's.
    pub(crate) fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// The program's file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the architecture's libraries under [`root`](Self::root).
    pub(crate) fn library_dir(root: &Path) -> PathBuf {
        root.join("usr/lib").join(TRIPLET)
    }

    /// The dynamic loader as programs see it for whom the folder is the root of the file system.
    pub(crate) const LOADER_BELOW_ROOT: &str = "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";

    /// A shell script that runs it with `first`, then with the script's own arguments.
    pub(crate) fn script(&self, first: &[&Path]) -> String {
        let first: String = first.iter().map(|word| format!(" {}", script_word(word))).collect();
        let command = match &self.root {
            None => script_word(&self.path),
            Some(root) => {
                let (loader, dirs) = Self::loader(root);
                let [a, b] = dirs.each_ref().map(|dir| script_word(dir));
                format!("{} --library-path {a}:{b} {}", script_word(&loader), script_word(&self.path))
            }
        };
        format!("#!/bin/sh\nexec {command}{first} \"$@\"\n")
    }

    /// The loader that was unpacked, and the folders of libraries.
    fn loader(root: &Path) -> (PathBuf, [PathBuf; 2]) {
        let dirs = [Self::library_dir(root), root.join("lib").join(TRIPLET)];
        let loader = dirs.iter().map(|dir| dir.join(LOADER)).find(|path| path.exists());
        (loader.unwrap_or_else(|| dirs[0].join(LOADER)), dirs)
    }

    /// The command that runs it, without arguments; see [`bounded`].
    ///
    /// An unpacked program runs under the loader it was unpacked with, because its libraries may want a newer libc than
    /// the system's. Older Debian releases have loader and libc in `lib/`, newer ones in `usr/lib/`.
    pub(crate) fn command(&self) -> Command {
        let Some(root) = &self.root else { return bounded::command(&self.path) };
        let (loader, dirs) = Self::loader(root);
        let mut command = bounded::command(loader);
        let library_path = env::join_paths(&dirs).unwrap_or_default();
        command.arg("--library-path").arg(library_path).arg(&self.path);
        command
    }
}

/// A path as a word of a shell script.
pub(crate) fn script_word(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
