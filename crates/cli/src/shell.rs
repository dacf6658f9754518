//! Completions and manual pages.

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::Verdict;
use crate::args::Arguments;
use crate::problem::{Problem, printable};
use crate::terminal::print;

/// Prints completions for a shell.
pub(crate) fn completions(shell: Shell) -> Result<Verdict, Problem> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "selfsame", &mut text);
    print(&String::from_utf8_lossy(&text))?;
    Ok(Verdict::Done)
}

/// Prints the manual page of the command, or of one subcommand.
pub(crate) fn man(name: Option<&str>) -> Result<Verdict, Problem> {
    let mut command = Arguments::command();
    command.build();
    if let Some(name) = name {
        let found = command.find_subcommand(name).cloned();
        let found = found.ok_or_else(|| Problem::UnknownCommand { name: printable(name) })?;
        // Pages are named as `man selfsame-level` finds them, commands as they are typed.
        let title = format!("selfsame-{name}");
        command = found.display_name(title).bin_name(format!("selfsame {name}"));
    }
    let mut text = Vec::new();
    Man::new(command).render(&mut text).map_err(Problem::Output)?;
    print(&String::from_utf8_lossy(&text))?;
    Ok(Verdict::Done)
}
