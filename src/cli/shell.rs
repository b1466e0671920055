//! `sterna completions` and `sterna man`: the command line for shells and as manual pages.

use clap::{Args, Command};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use super::{Outcome, Verdict, failure};
use crate::store::escaped;

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
            let (name, near) = (escaped(name, &[]), super::nearest(name, &known));
            failure(format!(
                "{} has no command {name}{near}: it has {}",
                command.get_name(),
                known.join(", ")
            ))
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

#[cfg(test)]
mod tests {
    use clap::Command;

    /// Every command that does some work, with its full name.
    fn commands() -> Vec<Command> {
        fn collect(command: &Command, into: &mut Vec<Command>) {
            for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
                collect(inner, into);
            }
            if !command.has_subcommands() {
                into.push(command.clone());
            }
        }
        let (mut parser, mut all) = (crate::cli::parser(None), Vec::new());
        parser.build();
        collect(&parser, &mut all);
        all
    }

    #[test]
    fn help_is_wrapped_once_and_has_examples_everywhere() {
        let mut faults = Vec::new();
        for command in commands().iter().chain([&crate::cli::parser(None)]) {
            let name = command.get_bin_name().unwrap_or("sterna");
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            if !help.contains("Example") || !help.contains(&format!("  {name}")) {
                faults.push(format!("{name} has no example"));
            }
            let lines: Vec<&str> = help.lines().chain([""]).collect();
            for pair in lines.windows(2) {
                // clap wraps paragraphs at the width of the terminal only if each is one line. Examples must not be
                // wrapped.
                let [line, next] = [pair[0], pair[1]];
                let paragraph = !line.is_empty() && !line.starts_with("  ");
                if paragraph && !next.is_empty() && !next.starts_with("  ") {
                    faults.push(format!("{name} breaks a paragraph after: {line}"));
                }
                if !paragraph && line.chars().count() > 80 {
                    faults.push(format!("{name} has an example of more than 80 columns: {line}"));
                }
            }
        }
        assert!(faults.is_empty(), "{faults:#?}");
    }

    /// What values of these flags are called that are numbers, and lists of them.
    const NUMBERS: [&str; 8] = ["N", "N,N", "F", "S", "MIB", "ACC", "SHAPE", "SHAPES"];

    #[test]
    fn every_number_is_refused_in_one_sentence_that_says_what_to_give() {
        let (mut faults, mut count) = (Vec::new(), 0);
        for command in commands() {
            let name = command.get_bin_name().unwrap_or_default();
            for flag in command.get_arguments() {
                let of = |value: &clap::builder::Str| NUMBERS.contains(&value.as_str());
                let Some(long) =
                    flag.get_long().filter(|_| flag.get_value_names().is_some_and(|all| all.iter().any(of)))
                else {
                    continue;
                };
                count += 1;
                for value in ["-1", "two", "", "-0.5", "1e400", "99999999999999999999999"] {
                    let flag = format!("--{long}");
                    let args = name.split(' ').chain([&flag[..], value]);
                    let refused = crate::cli::parser(None).try_get_matches_from(args);
                    let said = match refused {
                        Err(error) => crate::cli::arguments::refusal(&error),
                        Ok(_) if ["lr", "weight-decay", "clip"].contains(&long) && value.len() > 5 => {
                            continue;
                        }
                        Ok(_) => "taken".into(),
                    };
                    let shown = if value.is_empty() { "''" } else { value };
                    let helps = said.contains("give ") || said.contains("for instance ");
                    if !said.starts_with(&format!("{flag} {shown}: ")) || said.contains('\n') || !helps {
                        faults.push(format!("{name} {flag} {value}: {said}"));
                    }
                }
            }
        }
        assert!(faults.is_empty() && count > 20, "{count}: {faults:#?}");
    }

    #[test]
    fn a_flag_means_the_same_in_every_command() {
        let mut faults = Vec::new();
        for command in commands() {
            let name = command.get_bin_name().unwrap_or_default();
            let flags = || command.get_arguments().filter_map(|flag| Some((flag.get_long()?, flag)));
            for (long, flag) in flags() {
                let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
                let right = match long {
                    "output" | "format" | "emit" | "png" | "trace" => false,
                    "out" => flag.get_short() == Some('o'),
                    // The shape of a matrix, or of a whole model.
                    "shape" if name.ends_with(" generate") => help.starts_with("The shape of a known model"),
                    "shape" | "shapes" => help.contains("ROWSxCOLS"),
                    "seconds" => help.starts_with("Measure each"),
                    "json" => help.starts_with("Print one JSON object on one line"),
                    _ => true,
                };
                if !right {
                    faults.push(format!("{name} --{long}: {help}"));
                }
            }
            let results = !["sterna completions", "sterna man", "sterna watch"].contains(&name);
            if flags().any(|(long, _)| long == "json") != results {
                faults.push(format!("{name}: --json is for commands with results"));
            }
        }
        assert!(faults.is_empty(), "{faults:#?}");
    }
}
