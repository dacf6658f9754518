//! A process that cannot outlive its purpose.
//!
//! It ends when its work is done, when the caller's patience is over, when the value is dropped (also by a panic), and
//! when this process ends in whatever way: the kernel kills it then, which `setpriv` of util-linux arranges. Bochs
//! needs that, for it catches SIGTERM and stays, and neither a halted guest nor a triple fault ends it. A wrapper such
//! as `timeout` would not do: it dies alone when it is killed.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a look at the process may come late.
const POLL: Duration = Duration::from_millis(5);

/// A running process, killed when this value goes away.
#[derive(Debug)]
pub(crate) struct Bounded {
    child: Child,
}

/// How long a program may take to answer a question.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How a process came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself.
    Exited(ExitStatus),
    /// The caller's patience was over.
    Killed,
}

/// A command for `program` that the kernel kills together with the thread that starts it.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Runs what [`command`] made as long as `has_patience`, and returns all that it wrote, to whichever stream.
///
/// # Errors
/// When it cannot be started, or the operating system does not tell about it.
pub(crate) fn output(mut command: Command, has_patience: impl FnMut() -> bool) -> io::Result<(End, String)> {
    let (mut reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let process = Bounded::start(command)?;
    thread::scope(|scope| {
        // Read while it runs: a pipe holds 64 KiB and then makes the writer wait.
        let text = scope.spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map(|_| String::from_utf8_lossy(&bytes).into_owned())
        });
        let end = process.wait_while(has_patience)?;
        let text = text.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause))?;
        Ok((end, text))
    })
}

/// Runs what [`command`] made to tell something, and returns what it says; nothing when it cannot be started or stays.
pub(crate) fn answer(command: Command) -> Option<String> {
    let start = Instant::now();
    let (end, text) = output(command, || start.elapsed() < ANSWER_LIMIT).ok()?;
    matches!(end, End::Exited(_)).then_some(text)
}

impl Bounded {
    /// Starts what [`command`] made, with nothing to read.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(mut command: Command) -> io::Result<Self> {
        Ok(Self { child: command.stdin(Stdio::null()).spawn()? })
    }

    /// Waits for the end, at most for `limit`.
    ///
    /// # Errors
    /// When the operating system does not tell about the process.
    pub(crate) fn wait(self, limit: Duration) -> io::Result<End> {
        let start = Instant::now();
        self.wait_while(|| start.elapsed() < limit)
    }

    /// Waits for the end as long as `has_patience`, which is asked again and again.
    ///
    /// # Errors
    /// When the operating system does not tell about the process.
    pub(crate) fn wait_while(mut self, mut has_patience: impl FnMut() -> bool) -> io::Result<End> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(End::Exited(status));
            }
            if !has_patience() {
                return Ok(End::Killed);
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn shell(script: &str) -> Bounded {
        let mut command = command("sh");
        command.args(["-c", script]);
        Bounded::start(command).unwrap()
    }

    #[test]
    fn the_status_of_what_ends_is_told() {
        let End::Exited(status) = shell("exit 7").wait(Duration::from_secs(60)).unwrap() else { panic!("not ended") };
        assert_eq!(status.code(), Some(7));
    }

    #[test]
    fn more_than_a_pipe_holds_is_read_from_both_streams() {
        let mut command = command("sh");
        command.args(["-c", "head -c 200000 /dev/zero; printf end >&2"]);
        let (end, text) = output(command, || true).unwrap();
        assert!(matches!(end, End::Exited(status) if status.success()));
        assert_eq!((text.len(), text.ends_with("end")), (200_003, true));
    }

    #[test]
    fn what_does_not_end_is_killed_although_it_ignores_signals() {
        let process = shell("trap '' TERM INT; while :; do sleep 60; done");
        let id = process.child.id();
        assert_eq!(process.wait(Duration::from_millis(50)).unwrap(), End::Killed);
        assert!(!Path::new("/proc").join(id.to_string()).exists());
    }

    #[test]
    fn a_process_dies_with_the_thread_that_started_it() {
        let start_and_leave = || {
            let process = shell("exec sleep 600");
            let name = Path::new("/proc").join(process.child.id().to_string()).join("comm");
            while std::fs::read_to_string(&name).unwrap().trim() != "sleep" {
                thread::sleep(POLL);
            }
            process
        };
        let process = thread::spawn(start_and_leave).join().unwrap();
        let End::Exited(status) = process.wait(Duration::from_secs(60)).unwrap() else { panic!("it lives") };
        assert!(!status.success());
    }
}
