//! Policy files: the text form in which a policy is stored and compared.

use core::fmt::{self, Write};

use crate::feature::Kind;
use crate::leaves::Leaves;
use crate::model;
use crate::policy::Policy;
use crate::text::{Document, Statement, Statements, TextError, TextWriter};
use crate::topology::Topology;

/// A policy with what its file says about it.
///
/// ```
/// use selfsame_cpuid::{Kind, Policy, PolicyFile};
///
/// let file = PolicyFile { name: "web", source: None, context: None, policy: Policy::empty(Kind::Kvm) };
/// let mut text = String::new();
/// file.write(&mut text)?;
/// assert_eq!(PolicyFile::parse(text.as_bytes()).unwrap(), file);
/// # Ok::<(), std::fmt::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyFile<'a> {
    /// What people call it.
    pub name: &'a str,
    /// Where it came from.
    pub source: Option<&'a str>,
    /// `KEY=VALUE` pairs about how it was made.
    pub context: Option<&'a str>,
    /// The policy.
    pub policy: Policy,
}

impl<'a> PolicyFile<'a> {
    /// Reads a policy file, strictly: lines come in their order, each once, and the last agrees with those above it. Equal
    /// policies of one name have equal files.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with its line. Nothing is half-applied.
    pub fn parse(text: &'a [u8]) -> Result<Self, TextError> {
        let mut reader = Reader {
            name: None,
            kind: None,
            source: None,
            context: None,
            topology: None,
            leaves: Leaves::new(),
            last: None,
        };
        for statement in Statements::new(text) {
            let (line, statement) = statement?;
            reader.statement(line, statement)?;
        }
        let missing = |expected| TextError::Arguments { line: 1, expected };
        Ok(Self {
            name: reader.name.ok_or(missing("a `name` line in the file"))?,
            source: reader.source,
            context: reader.context,
            policy: Policy {
                kind: reader.kind.ok_or(missing("a `kind` line in the file"))?,
                topology: reader.topology,
                leaves: reader.leaves,
            },
        })
    }

    /// Writes the file.
    ///
    /// # Errors
    ///
    /// Those of `sink`; and a name, source or context that one line cannot hold as it is: empty, or with control
    /// characters, `#`, or blanks at its ends.
    pub fn write<W: Write>(&self, sink: W) -> fmt::Result {
        let texts = [Some(self.name), self.source, self.context];
        if !texts.into_iter().flatten().all(is_one_line) {
            return Err(fmt::Error);
        }
        let mut text = TextWriter::begin(sink, Document::Policy)?;
        text.statement(&Statement::Name(self.name))?;
        text.statement(&Statement::Kind(self.policy.kind.name()))?;
        if let Some(source) = self.source {
            text.statement(&Statement::Source(source))?;
        }
        if let Some(context) = self.context {
            text.statement(&Statement::Context(context))?;
        }
        if let Some(topology) = self.policy.topology {
            writeln!(text, "topology {topology}")?;
        }
        for (leaf, subleaf, regs) in self.policy.leaves.rows() {
            text.statement(&Statement::Leaf(leaf, subleaf, regs))?;
        }
        for (index, value) in self.policy.leaves.msrs() {
            text.statement(&Statement::Msr(index, Some(value)))?;
        }
        text.end().map(drop)
    }
}

/// Whether a text stands in a line as it is.
fn is_one_line(text: &str) -> bool {
    !text.is_empty() && text.trim_ascii() == text && !text.contains(|c: char| c.is_control() || c == '#')
}

/// Whether a topology is written as `text`: there is one way for each.
fn is_written_so(topology: &Topology, text: &str) -> bool {
    /// What is still to come.
    struct Rest<'a>(&'a str);
    impl Write for Rest<'_> {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            self.0 = self.0.strip_prefix(part).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    let mut rest = Rest(text);
    write!(rest, "{topology}").is_ok() && rest.0.is_empty()
}

/// The state of reading one file.
struct Reader<'a> {
    name: Option<&'a str>,
    kind: Option<Kind>,
    source: Option<&'a str>,
    context: Option<&'a str>,
    topology: Option<Topology>,
    leaves: Leaves,
    last: Option<Row>,
}

const NOT_ZERO: &str = "a value that is not zero: what is absent is zero";

/// Where a line stands in the order of a file.
#[derive(Clone, Copy, Eq, PartialEq, Ord, PartialOrd)]
enum Row {
    Name,
    Kind,
    Source,
    Context,
    Topology,
    Leaf(u32, u32),
    Msr(u32),
}

impl<'a> Reader<'a> {
    fn statement(&mut self, line: usize, statement: Statement<'a>) -> Result<(), TextError> {
        match statement {
            Statement::Head(Document::Policy) => Ok(()),
            Statement::Head(Document::Capture) => Err(TextError::Misplaced { line, keyword: "capture" }),
            Statement::Name(text) => self.head(line, "name", Row::Name, |r| &mut r.name, text),
            Statement::Source(text) => self.head(line, "source", Row::Source, |r| &mut r.source, text),
            Statement::Context(text) => self.head(line, "context", Row::Context, |r| &mut r.context, text),
            Statement::Kind(text) => {
                let expected = "kind kvm, hvm, hvm-shadow or pv";
                let kind = text.parse().map_err(|_| TextError::Arguments { line, expected })?;
                self.head(line, "kind", Row::Kind, |r| &mut r.kind, kind)
            }
            Statement::Topology(text) => {
                let expected = "topology sockets=N cores=N threads=N, dies=N and modules=N before cores where not 1";
                let topology: Option<Topology> = text.parse().ok();
                let topology = topology.filter(|topology| is_written_so(topology, text));
                let topology = topology.ok_or(TextError::Arguments { line, expected })?;
                self.head(line, "topology", Row::Topology, |r| &mut r.topology, topology)
            }
            Statement::Cpu(_) => Err(TextError::Misplaced { line, keyword: "cpu" }),
            Statement::Leaf(leaf, subleaf, regs) => {
                self.ascend(line, Row::Leaf(leaf, subleaf.unwrap_or(0)))?;
                if regs.is_zero() {
                    return Err(TextError::Arguments { line, expected: NOT_ZERO });
                }
                match (model::indexing(leaf), subleaf) {
                    (Some(true), None) => return Err(TextError::Arguments { line, expected: "a subleaf" }),
                    (Some(false), Some(_)) => {
                        return Err(TextError::Arguments { line, expected: "`--` as the subleaf" });
                    }
                    _ => {}
                }
                self.leaves.set(leaf, subleaf.unwrap_or(0), regs).map_err(|_| TextError::OutsideModel { line })
            }
            Statement::Msr(index, value) => {
                self.ascend(line, Row::Msr(index))?;
                let value =
                    value.ok_or(TextError::Arguments { line, expected: "a value: a policy holds no faults" })?;
                if value == 0 {
                    return Err(TextError::Arguments { line, expected: NOT_ZERO });
                }
                self.leaves.set_msr(index, value).map_err(|_| TextError::OutsideModel { line })
            }
        }
    }

    /// Sets what may stand once, and in its order.
    fn head<T>(
        &mut self,
        line: usize,
        keyword: &'static str,
        row: Row,
        field: impl Fn(&mut Self) -> &mut Option<T>,
        value: T,
    ) -> Result<(), TextError> {
        if self.last.is_some_and(|last| last >= row) {
            return Err(TextError::Misplaced { line, keyword });
        }
        self.last = Some(row);
        *field(self) = Some(value);
        Ok(())
    }

    fn ascend(&mut self, line: usize, row: Row) -> Result<(), TextError> {
        if self.last.is_some_and(|last| last >= row) {
            return Err(TextError::Unordered { line });
        }
        self.last = Some(row);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    #[test]
    fn lines_before_the_rows_have_one_order() {
        let policy = Policy { topology: Some(Topology::ONE), ..Policy::empty(Kind::Kvm) };
        let file = PolicyFile { name: "web", source: Some("cpuid"), context: Some("a=b"), policy };
        let mut text = String::new();
        file.write(&mut text).unwrap();
        assert_eq!(PolicyFile::parse(text.as_bytes()), Ok(file));
        let lines: Vec<&str> = text.lines().collect();
        // All but the head and the check.
        for at in 1..lines.len() - 2 {
            let mut swapped = lines.clone();
            swapped.swap(at, at + 1);
            let text = swapped.join("\n");
            let refused = PolicyFile::parse(text.as_bytes());
            assert!(matches!(refused, Err(TextError::Misplaced { line, .. }) if line == at + 2), "{refused:?}");
        }
    }
}
