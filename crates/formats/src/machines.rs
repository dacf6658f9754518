//! Machines of which a file says the same.

use crate::capture_text::name_of;
use crate::dirt;
use crate::dump::Dump;
use crate::libvirt::CpuDefinition;

/// Machines of which a file says the same, but for their names: most hosts of a fleet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Machines {
    /// What the file says of each; its name is the first of [`Machines::names`].
    pub dump: Dump,
    /// What libvirt's element says of each, where the file is libvirt's: how it means its features, too.
    pub definition: Option<CpuDefinition>,
    /// What they are called, in the order of the file.
    pub names: Vec<String>,
    /// The place of each in the file, counted from 1, until it has a name.
    numbers: Vec<usize>,
}

impl Machines {
    /// Machines that are as a dump says; there is none yet.
    pub(crate) const fn of(dump: Dump) -> Self {
        Self { dump, definition: None, names: Vec::new(), numbers: Vec::new() }
    }

    /// The one machine of a file.
    pub(crate) fn one(dump: Dump) -> Self {
        let name = dump.name.clone();
        let mut machines = Self::of(dump);
        machines.add(1, Some(name));
        machines
    }

    /// Adds a machine by its place in the file and its name, where the file has one.
    pub(crate) fn add(&mut self, number: usize, name: Option<String>) {
        self.numbers.push(number);
        self.names.push(name.unwrap_or_default());
    }

    /// Names those without a name after the file, and looks for what is wrong with what it says.
    pub(crate) fn finish(all: &mut [Self], file: &str) {
        let count = all.iter().map(|machines| machines.numbers.len()).sum::<usize>();
        let digits = count.to_string().len();
        let file = name_of(file);
        for machines in all {
            for (name, number) in machines.names.iter_mut().zip(std::mem::take(&mut machines.numbers)) {
                *name = match &**name {
                    "" if count == 1 => file.clone(),
                    "" => format!("{file}:{number:0digits$}"),
                    said => name_of(said),
                };
            }
            machines.dump.name = machines.names.first().cloned().unwrap_or_default();
            let found = dirt::examine(&mut machines.dump);
            machines.dump.findings.extend(found);
        }
    }
}
