//! One target under libFuzzer.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use selfsame_fuzz::Target;

use super::{FuzzError, create_folder, write_file};
use crate::phase::Phase;

/// How much each target is run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Budget {
    Seconds(u64),
    Executions(u64),
}

/// How running a target went.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) name: &'static str,
    pub(crate) executions: u64,
    /// How many inputs are known that get to different places.
    pub(crate) inputs: usize,
    pub(crate) took: Duration,
    /// The saved input that the target broke by.
    pub(crate) broken_by: Option<PathBuf>,
    /// What the fuzzer said last.
    pub(crate) last_words: String,
}

/// How much memory a target may use.
const MEMORY_LIMIT_MIB: u32 = 1024;
/// How long one input may take, in seconds: a thousand times what any should.
const INPUT_LIMIT_SECONDS: u32 = 10;
/// How many of a broken target's last lines are shown.
const LAST_LINES: usize = 25;

impl Run {
    /// Runs a target's binary until the budget is used up or the target breaks.
    pub(super) fn of(
        target: &'static Target,
        binaries: &Path,
        folder: &Path,
        budget: Budget,
    ) -> Result<Self, FuzzError> {
        let place = |what: &str| folder.join(what).join(target.name);
        let (corpus, seeds, broken) = (place("corpus"), place("seeds"), place("broken"));
        for folder in [&corpus, &seeds, &broken] {
            create_folder(folder)?;
        }
        for (number, seed) in (target.seeds)().iter().enumerate() {
            write_file(&seeds.join(number.to_string()), seed)?;
        }
        let words = folder.join(format!("{}.dict", target.name));
        write_file(&words, dictionary(target.words).as_bytes())?;

        let program = binaries.join(target.name);
        let mut command = Command::new(&program);
        command.arg(match budget {
            Budget::Seconds(seconds) => format!("-max_total_time={seconds}"),
            Budget::Executions(count) => format!("-runs={count}"),
        });
        command.arg(format!("-max_len={}", target.max_len_bytes));
        // An empty dictionary is refused.
        if !target.words.is_empty() {
            command.arg(format!("-dict={}", words.display()));
        }
        command.arg(format!("-artifact_prefix={}/", broken.display()));
        command.arg(format!("-rss_limit_mb={MEMORY_LIMIT_MIB}"));
        command.arg(format!("-timeout={INPUT_LIMIT_SECONDS}"));
        command.arg("-print_final_stats=1").arg(&corpus).arg(&seeds);
        Self::watch(target.name, command, &program, budget, &corpus)
    }

    fn watch(
        name: &'static str,
        mut command: Command,
        program: &Path,
        budget: Budget,
        corpus: &Path,
    ) -> Result<Self, FuzzError> {
        let not_started = |source| FuzzError::NotStarted { program: program.to_owned(), source };
        let (Budget::Seconds(total) | Budget::Executions(total)) = budget;
        let phase = Phase::pieces(name.to_owned(), total);
        let start = Instant::now();
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(not_started)?;
        let mut executions = 0;
        let mut saved = None;
        let mut last_words = VecDeque::new();
        for line in child.stderr.take().into_iter().flat_map(|log| BufReader::new(log).split(b'\n')) {
            let line = String::from_utf8_lossy(&line.map_err(not_started)?).into_owned();
            if let Some(count) = executions_in(&line) {
                executions = count;
                phase.reach(match budget {
                    Budget::Seconds(_) => start.elapsed().as_secs(),
                    Budget::Executions(_) => count,
                });
            }
            if let Some((_, path)) = line.split_once("Test unit written to ") {
                saved = Some(PathBuf::from(path));
            }
            last_words.push_back(line);
            if last_words.len() > LAST_LINES {
                last_words.pop_front();
            }
        }
        let status = child.wait().map_err(not_started)?;
        // It may have died before it could save anything; what is slow is saved, too, and breaks nothing.
        let broken_by = (!status.success()).then(|| saved.unwrap_or_else(|| corpus.to_owned()));
        phase.done();
        let inputs = fs::read_dir(corpus).map_or(0, Iterator::count);
        let last_words = Vec::from(last_words).join("\n");
        Ok(Self { name, executions, inputs, took: start.elapsed(), broken_by, last_words })
    }

    /// How fast it went.
    pub(crate) fn executions_a_second(&self) -> u64 {
        self.executions / self.took.as_secs().max(1)
    }
}

/// The number after `#` in its lines of progress, and that of the final statistics.
fn executions_in(line: &str) -> Option<u64> {
    let count = match line.strip_prefix("stat::number_of_executed_units:") {
        Some(rest) => rest.trim(),
        None => line.strip_prefix('#')?.split('\t').next()?,
    };
    count.parse().ok()
}

/// The words as libFuzzer reads them (LLVM, docs/LibFuzzer.rst, "Dictionaries").
fn dictionary(words: &[&str]) -> String {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    words.iter().map(|word| format!("\"{}\"\n", word.bytes().map(escaped).collect::<String>())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_are_counted_by_what_libfuzzer_prints() {
        assert_eq!(executions_in("#2097152\tpulse  cov: 1 ft: 2 corp: 3/4b exec/s: 5 rss: 6Mb"), Some(2_097_152));
        assert_eq!(executions_in("stat::number_of_executed_units: 3000000"), Some(3_000_000));
        assert_eq!(executions_in("INFO: Seed: 12"), None);
        assert_eq!(executions_in("#1: a frame"), None);
    }

    #[test]
    fn words_are_quoted_for_libfuzzer() {
        assert_eq!(dictionary(&["a b", "\n\"\\\u{e9}"]), "\"a b\"\n\"\\x0a\\\"\\\\\\xc3\\xa9\"\n");
    }

    #[test]
    fn a_target_that_dies_is_broken_by_the_input_that_it_saved() {
        let run = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Run::watch("sh", command, Path::new("sh"), Budget::Executions(9), Path::new("corpus")).unwrap()
        };
        let run_of_death = run("printf '#7\\tNEW\\nTest unit written to x/crash-1\\n' >&2; exit 77");
        assert_eq!((run_of_death.executions, run_of_death.broken_by), (7, Some(PathBuf::from("x/crash-1"))));
        assert_eq!(run_of_death.last_words, "#7\tNEW\nTest unit written to x/crash-1");
        assert_eq!(run("kill -KILL $$").broken_by, Some(PathBuf::from("corpus")));
        assert_eq!(run("echo Test unit written to x/slow-unit-1 >&2").broken_by, None);
    }
}
