//! Policies in the form that another stack takes.

use selfsame_formats::Models;
use selfsame_formats::export::{Export, Target, export};

use crate::document::StoredPolicy;
use crate::json::{ExportMember, NoteMember};
use crate::problem::Problem;
use crate::terminal::note;

/// A policy as a target takes it.
#[derive(Debug)]
pub(crate) struct Exported {
    target: Target,
    export: Export,
}

impl Exported {
    /// Writes a policy for a target, to which the names of models mean what `models` says.
    pub(crate) fn of(stored: &StoredPolicy, target: Target, models: &Models) -> Result<Self, Problem> {
        let export = export(&stored.policy, &stored.name, target, models)?;
        Ok(Self { target, export })
    }

    /// What the target reads.
    pub(crate) fn text(&self) -> &str {
        &self.export.text
    }

    /// Says beside the text what it does not say.
    pub(crate) fn tell_notes(&self) {
        for finding in &self.export.notes {
            note(&format!("{}: {finding}", self.target));
        }
    }

    /// The same for programs.
    pub(crate) fn member(&self) -> ExportMember {
        let note =
            |note: &selfsame_formats::export::Note| NoteMember { what: note.what.clone(), reason: note.reason.clone() };
        ExportMember {
            target: self.target.name(),
            text: self.export.text.clone(),
            notes: self.export.notes.iter().map(note).collect(),
        }
    }
}
