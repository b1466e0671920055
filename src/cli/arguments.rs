//! Refusals of arguments, each as one sentence that says what would be valid, and the parsers of numbers in arguments.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::nearest;
use crate::store::escaped;

/// A whole number from `least` to `most`.
pub fn whole<T: TryFrom<u64>>(
    least: u64,
    most: u64,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync {
    move |text| {
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| match most {
            u64::MAX => format!("give a whole number, {least} or more"),
            _ => format!("give a whole number from {least} to {most}"),
        })
    }
}

/// A count. Its only limit is that of `usize`.
pub fn count(text: &str) -> Result<usize, String> {
    whole(0, u64::MAX)(text)
}

/// [`count`] without 0.
pub fn some(text: &str) -> Result<usize, String> {
    whole(1, u64::MAX)(text)
}

/// A number for which `fits` holds. `what` describes the valid numbers in words.
pub fn real(
    what: &'static str,
    fits: fn(f64) -> bool,
) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync {
    move |text| match text.parse() {
        Ok(number) if fits(number) => Ok(number),
        _ => Err(format!("give {what}")),
    }
}

/// A length of time in seconds.
pub fn seconds(text: &str) -> Result<f64, String> {
    real("seconds, 0 to 3600", |seconds| (0.0..=3600.0).contains(&seconds))(text)
}

/// Lets flags take a value that begins with a minus sign, so that the flag's own error describes the valid values.
pub fn with_signs(command: clap::Command) -> clap::Command {
    command
        .mut_args(|argument| {
            let valued = argument.get_long().is_some() && argument.get_action().takes_values();
            argument.allow_negative_numbers(valued)
        })
        .mut_subcommands(with_signs)
}

/// The characters around the name of an argument.
const BRACKETS: &[char] = &['[', ']', '<', '>', '.'];

/// The fault of the arguments, in one sentence.
pub fn refusal(error: &clap::Error) -> String {
    let all = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    };
    let text = |kind| escaped(&all(kind).join(" "), &[]);
    // Keep `--epochs` of `--epochs <N>`, and a word without the brackets around it.
    let flag = |words: &str| words.split(" <").next().unwrap_or_default().trim_matches(BRACKETS).to_string();
    let (argument, value) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue));
    let shown = if value.is_empty() { "''" } else { &value };
    let help = help(error);
    match error.kind() {
        ErrorKind::ValueValidation => {
            let what = error.source().map(ToString::to_string).unwrap_or_default();
            format!("{} {shown}: {what}", flag(&argument))
        }
        ErrorKind::InvalidValue => {
            let known = all(ContextKind::ValidValue);
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            match (&known[..], value.is_empty()) {
                ([], _) => format!("{} needs a value: {help}", flag(&argument)),
                (_, true) => format!("{} needs a value: give one of {}", flag(&argument), known.join(", ")),
                _ => {
                    let near = nearest(&value, &known);
                    format!("{} {value}{near}: give one of {}", flag(&argument), known.join(", "))
                }
            }
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            let minus = argument[1..].starts_with(|c: char| c.is_ascii_digit() || c == '.');
            let near = match all(ContextKind::SuggestedArg).first() {
                _ if minus => " (a list of numbers that begins with one is given as FLAG=LIST)".into(),
                Some(near) => format!(" (did you mean {near}?)"),
                None => String::new(),
            };
            format!("there is no flag {argument}{near}: {help}")
        }
        ErrorKind::UnknownArgument => format!("{argument} is one word too many: {help}"),
        ErrorKind::InvalidSubcommand => {
            let name = text(ContextKind::InvalidSubcommand);
            let near = all(ContextKind::SuggestedSubcommand);
            let near = match near.is_empty() {
                true => String::new(),
                false => format!(" (did you mean {}?)", near.join(" or ")),
            };
            format!("there is no command {name}{near}: {help}")
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = all(ContextKind::InvalidArg);
            let is = if missing.len() == 1 { "is" } else { "are" };
            format!("{} {is} missing: {help}", missing.join(" and "))
        }
        ErrorKind::TooManyValues => format!("{} takes no value, but {shown} is one", flag(&argument)),
        ErrorKind::ArgumentConflict => {
            let other: Vec<String> = all(ContextKind::PriorArg).iter().map(|words| flag(words)).collect();
            match &other[..] {
                [] => format!("{} is given twice: leave one out", flag(&argument)),
                _ if other.contains(&flag(&argument)) => {
                    format!("{} is given twice: leave one out", flag(&argument))
                }
                _ => format!("{} does not go with {}: leave one out", flag(&argument), other.join(" and ")),
            }
        }
        _ => {
            let text = error.to_string();
            escaped(text.strip_prefix("error: ").unwrap_or(&text).trim_end(), &['\n'])
        }
    }
}

/// The help command that lists the arguments of the intended command.
fn help(error: &clap::Error) -> String {
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string(),
        _ => String::new(),
    };
    let words = usage.trim_start_matches("Usage:").split_whitespace();
    let words = words.take_while(|word| !word.starts_with(['[', '<', '-']));
    let command: Vec<&str> = words.collect();
    match command.is_empty() {
        true => "--help lists what there is".into(),
        false => format!("`{} --help` lists what there is", command.join(" ")),
    }
}
