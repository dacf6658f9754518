//! How the files of a command line are read: in which format, with which models of CPUs, and for which kind of guest.

use std::cell::OnceCell;
use std::path::Path;

use selfsame_cpuid::Kind;
use selfsame_formats::libvirt::CPU_MAP;
use selfsame_formats::{Format, Machines, Models, ReadError, Reading, read_all};

use crate::args::SourceArguments;
use crate::problem::Problem;
use crate::terminal::note;

/// How files are read.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    format: Option<Format>,
    /// The kind of guest, where one is asked about.
    kind: Option<Kind>,
    /// The models of `--cpu-map`, before those that are known.
    given: Option<Models>,
    /// The known models, then those of the libvirt that is installed here.
    installed: OnceCell<Option<Models>>,
}

impl Sources {
    /// As the command line says.
    pub(crate) fn of(arguments: &SourceArguments) -> Result<Self, Problem> {
        let map = arguments.cpu_map.as_deref().map(Models::read_cpu_map).transpose()?;
        let given = map.map(|map| map.beside(Models::known()));
        Ok(Self { format: arguments.format, kind: None, given, installed: OnceCell::new() })
    }

    /// The same for one kind of guest.
    pub(crate) fn for_guests(self, kind: Kind) -> Self {
        Self { kind: Some(kind), ..self }
    }

    /// What the names of models mean.
    pub(crate) fn models(&self) -> &Models {
        self.given.as_ref().or_else(|| self.installed.get()?.as_ref()).unwrap_or_else(|| Models::known())
    }

    /// Reads the machines of a file. A model that nobody knows is looked for in the libvirt that is installed here.
    pub(crate) fn read(&self, bytes: &[u8], name: &str) -> Result<Vec<Machines>, ReadError> {
        let read = || read_all(bytes, name, &Reading { format: self.format, models: self.models(), kind: self.kind });
        let result = read();
        match &result {
            Err(error) if self.given.is_none() && error.unknown_model().is_some() && self.has_installed() => {
                let model = error.unknown_model().unwrap_or_default();
                note(&format!("{name}: no model is called {model} here: taken from {CPU_MAP}"));
                read()
            }
            _ => result,
        }
    }

    /// Takes the models of the installed libvirt too, once; whether there are any that were not there before.
    fn has_installed(&self) -> bool {
        let is_new = self.installed.get().is_none();
        let installed = self.installed.get_or_init(|| {
            let map = Models::read_cpu_map(Path::new(CPU_MAP)).ok()?;
            Some(Models::known().clone().beside(&map))
        });
        is_new && installed.is_some()
    }
}
