//! `sterna completions` and `sterna man`: the command line told to shells and to `man`.

use clap::{Args, Command};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use super::{Outcome, Verdict, failure};

#[derive(Args)]
#[command(after_help = COMPLETIONS)]
pub struct CompletionsFlags {
    /// The shell that will read the script.
    shell: Shell,
}

const COMPLETIONS: &str = "\
Examples:
  sterna completions bash > ~/.local/share/bash-completion/completions/sterna
  sterna completions zsh > ~/.zfunc/_sterna
  sterna completions fish > ~/.config/fish/completions/sterna.fish";

#[derive(Args)]
#[command(after_help = MAN)]
pub struct ManFlags {
    /// A command, such as `train` or `bench gemv`; without it the program.
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

const MAN: &str = "\
Examples:
  sterna man | man -l -
  sterna man bench gemv | man -l -
  sterna man > ~/.local/share/man/man1/sterna.1";

pub fn completions(flags: &CompletionsFlags, mut parser: Command) -> Outcome {
    let mut script = Vec::new();
    generate(flags.shell, &mut parser, "sterna", &mut script);
    print(&script)
}

pub fn man(flags: &ManFlags, mut parser: Command) -> Outcome {
    parser.build();
    let mut command = &parser;
    for name in &flags.command {
        let found = command.find_subcommand(name);
        command = found.ok_or_else(|| {
            let known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            failure(format!("{} has no command {name}{}", command.get_name(), super::nearest(name, &known)))
        })?;
    }
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page).expect("there is memory for a page");
    print(&page)
}

fn print(text: &[u8]) -> Outcome {
    super::print(String::from_utf8_lossy(text).trim_end())?;
    Ok(Verdict::Yes)
}
