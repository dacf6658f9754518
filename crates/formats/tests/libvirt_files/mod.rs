//! libvirt's part of the shared corpus.
#![allow(dead_code, reason = "each test uses its part")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use selfsame_cpuid::{FEATURES, Feature, Featureset, Host, Kind, Relation, Trims};
use selfsame_formats::{Dump, Machines, Models, Reading, read_all};

#[path = "../corpus_files/mod.rs"]
mod corpus_files;

/// libvirt's part of the corpus; `None`, loudly, where it is absent.
pub(crate) fn libvirt() -> Option<PathBuf> {
    corpus_files::corpus().map(|corpus| corpus.join("libvirt"))
}

/// The whole corpus; `None`, loudly, where it is absent.
pub(crate) fn corpus() -> Option<PathBuf> {
    corpus_files::corpus()
}

/// libvirt's map of models, unpacked.
pub(crate) fn cpu_map() -> Option<&'static Models> {
    static MAP: OnceLock<Option<Models>> = OnceLock::new();
    MAP.get_or_init(|| {
        let archive = libvirt()?.join("cpu_map.tar.xz");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cpu_map-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let status = Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(&folder).status().unwrap();
        assert!(status.success(), "tar could not unpack {}", archive.display());
        let models = Models::read_cpu_map(&folder.join("cpu_map")).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        Some(models)
    })
    .as_ref()
}

/// The rows of a CSV file under its column names; a field in quotes may have commas.
pub(crate) fn csv(path: &Path) -> Vec<std::collections::BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| {
        let mut fields = vec![String::new()];
        let mut is_quoted = false;
        for c in line.chars() {
            match c {
                '"' => is_quoted = !is_quoted,
                ',' if !is_quoted => fields.push(String::new()),
                _ => fields.last_mut().unwrap().push(c),
            }
        }
        assert_eq!(fields.len(), columns.len(), "{line}");
        columns.iter().map(|column| (*column).to_owned()).zip(fields).collect()
    };
    lines.map(row).collect()
}

/// The machines of a file, with libvirt's own models.
pub(crate) fn machines(path: &Path) -> Vec<Machines> {
    let bytes = std::fs::read(path).unwrap();
    let name = path.file_stem().unwrap().to_string_lossy();
    let models = cpu_map().unwrap();
    read_all(&bytes, &name, &Reading { models, ..Reading::default() })
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The host that a dump tells of, as KVM's guests meet it.
pub(crate) fn host(dump: &Dump) -> Host {
    let raw = dump.raw().leaves;
    if dump.source.is_hardware() {
        Host::from_hardware(&raw, Kind::Kvm, &Trims::NONE)
    } else {
        Host::from_vmm(&raw, Kind::Kvm, &Trims::NONE)
    }
}

/// The features of a set that a policy may hold by themselves.
pub(crate) fn own(set: &Featureset) -> impl Iterator<Item = &'static Feature> + '_ {
    let is_own = |row: &&Feature| !matches!(row.relation, Relation::Derived | Relation::Local);
    FEATURES.iter().filter(is_own).filter(|row| set.contains(row.place))
}

/// Names of the features of a set, for messages and lists.
pub(crate) fn names(set: &Featureset) -> Vec<&'static str> {
    set.iter().filter_map(selfsame_cpuid::feature_at).map(|row| row.name).collect()
}
