//! What machine an emulator is to be.

use std::fmt;

/// A machine: a CPU model of the emulator, what is changed in it, and its size.
///
/// Names are the emulator's own: Bochs's as in [`Bochs::models`](super::Bochs::models) and its features as in its
/// `add_features`, QEMU's as in `-cpu`.
///
/// ```ignore
/// let host = Machine { add: &["cet"], remove: &["svm"], ..Machine::new("ryzen") };
/// assert_eq!(host.to_string(), "ryzen +cet -svm");
/// ```
#[derive(Clone, Debug)]
pub(crate) struct Machine<'a> {
    /// The CPU model.
    pub(crate) model: &'a str,
    /// Features that the model lacks and this machine has.
    pub(crate) add: &'a [&'a str],
    /// Features that the model has and this machine lacks.
    pub(crate) remove: &'a [&'a str],
    /// Logical CPUs.
    pub(crate) cpus: u32,
    /// Memory in MiB.
    pub(crate) memory_mib: u32,
}

impl<'a> Machine<'a> {
    /// The model as it is, with one CPU and 256 MiB.
    pub(crate) const fn new(model: &'a str) -> Self {
        Self { model, add: &[], remove: &[], cpus: 1, memory_mib: 256 }
    }
}

/// Writes what tells one machine from another of the same emulator.
impl fmt::Display for Machine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model)?;
        for name in self.add {
            write!(f, " +{name}")?;
        }
        for name in self.remove {
            write!(f, " -{name}")?;
        }
        if self.cpus == 1 { Ok(()) } else { write!(f, " with {} CPUs", self.cpus) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_named_by_its_model_and_what_is_changed() {
        assert_eq!(Machine::new("ryzen").to_string(), "ryzen");
        let machine = Machine { add: &["cet", "pku"], remove: &["svm"], cpus: 2, ..Machine::new("ryzen") };
        assert_eq!(machine.to_string(), "ryzen +cet +pku -svm with 2 CPUs");
    }
}
