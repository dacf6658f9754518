//! Machines of which a file says the same.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::capture_text::name_of;
use crate::dirt;
use crate::dump::Dump;
use crate::libvirt::CpuDefinition;
use crate::named::NamedMachine;

/// Machines of which a file says the same, but for their names: most hosts of a fleet.
#[derive(Clone, Debug)]
pub struct Machines {
    /// What the file says of each.
    pub said: Said,
    /// What libvirt's element says, where the file is libvirt's and says the same of all its machines: how it means its
    /// features, too.
    pub definition: Option<Box<CpuDefinition>>,
    /// What they are called, in the order of the file.
    pub names: Vec<String>,
    /// The place of each in the file, counted from 1, until it has a name.
    numbers: Vec<usize>,
}

/// What a file says of a machine.
#[derive(Clone, Debug)]
pub enum Said {
    /// What its CPUs answered; the dump's name is the first of [`Machines::names`].
    Dump(Box<Dump>),
    /// The names of its features, which tell what its CPU would answer.
    Names(NamedMachine),
}

impl Machines {
    /// Machines that are as a file says; there is none yet.
    pub(crate) const fn of(said: Said) -> Self {
        Self { said, definition: None, names: Vec::new(), numbers: Vec::new() }
    }

    /// What the file says of each, as their CPUs answer it; its name is the first of [`Machines::names`].
    pub fn dump(&self) -> Cow<'_, Dump> {
        match &self.said {
            Said::Dump(dump) => Cow::Borrowed(dump),
            Said::Names(named) => Cow::Owned(named.dump(self.names.first().map_or("", |name| name))),
        }
    }

    /// The one machine of a file.
    pub(crate) fn one(dump: Dump) -> Self {
        let name = dump.name.clone();
        let mut machines = Self::of(Said::Dump(Box::new(dump)));
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
                    "" => {
                        let mut name = String::with_capacity(file.len() + 1 + digits);
                        // Writing into a string does not fail.
                        let _ = write!(name, "{file}:{number:0digits$}");
                        name
                    }
                    said => name_of(said),
                };
            }
            // What is only named is looked at when it is laid out.
            if let Said::Dump(dump) = &mut machines.said {
                dump.name = machines.names.first().cloned().unwrap_or_default();
                let found = dirt::examine(dump);
                dump.findings.extend(found);
            }
        }
    }
}
