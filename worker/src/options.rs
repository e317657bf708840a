//! Parses command lines and environment variables. One that is set but empty counts as absent.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, ArgMatches, Command, Error, Parser};

/// Parses the arguments and the environment of this program. Exits with 2 if they can't be used.
///
/// It differs from [`Parser::parse`] in two ways: an empty variable, or an empty value of an option, counts as absent, and
/// the error for a variable's value names the variable. An option that may be repeated may be empty.
#[must_use]
pub fn parse<P: Parser>() -> P {
    let matches = matches(P::command(), std::env::args_os());
    let parsed =
        matches.and_then(|matches| P::from_arg_matches(&matches).map_err(|error| error.format(&mut P::command())));
    parsed.unwrap_or_else(|error| error.exit())
}

/// Parses `args`, of which the first is the program's name, and the environment.
pub(crate) fn matches(command: Command, args: impl IntoIterator<Item = OsString>) -> Result<ArgMatches, Error> {
    let mut command = without_empty_variables(command);
    command.build();
    let args = without_empty_options(&command, args);
    command.try_get_matches_from_mut(args).map_err(|error| naming_variable(error, &command))
}

fn without_empty_variables(command: Command) -> Command {
    let reset_empty = |arg: Arg| if is_empty_variable(&arg) { arg.env(Resettable::Reset) } else { arg };
    command.mut_args(reset_empty).mut_subcommands(without_empty_variables)
}

fn is_empty_variable(arg: &Arg) -> bool {
    variable(arg).is_some_and(|value| value.trim_ascii().is_empty())
}

/// The value of the argument's variable.
fn variable(arg: &Arg) -> Option<Vec<u8>> {
    arg.get_env().and_then(std::env::var_os).map(OsString::into_encoded_bytes)
}

/// Removes `--option=` and `--option ''` from the arguments before `--`.
fn without_empty_options(command: &Command, args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let options: BTreeSet<String> = all_args(command)
        .filter(|arg| matches!(arg.get_action(), ArgAction::Set))
        .flat_map(|arg| {
            [arg.get_long().map(|name| format!("--{name}")), arg.get_short().map(|name| format!("-{name}"))]
        })
        .flatten()
        .collect();
    let is_option = |text: &str| options.contains(text);
    let mut kept: Vec<OsString> = Vec::new();
    let mut only_positional = false;
    for arg in args {
        only_positional |= arg == "--";
        let text = arg.to_str().unwrap_or("-");
        let follows_option = kept.last().and_then(|last| last.to_str()).is_some_and(is_option);
        match text {
            _ if only_positional => kept.push(arg),
            "" if follows_option => drop(kept.pop()),
            _ if text.strip_suffix('=').is_some_and(is_option) => {}
            _ => kept.push(arg),
        }
    }
    kept
}

/// The arguments of a command and of its subcommands.
fn all_args(command: &Command) -> Box<dyn Iterator<Item = &Arg> + '_> {
    Box::new(command.get_arguments().chain(command.get_subcommands().flat_map(all_args)))
}

/// Replaces the argument that an error names by its variable, if the refused value is the variable's.
fn naming_variable(mut error: Error, command: &Command) -> Error {
    let text = |kind| error.get(kind).map(ToString::to_string);
    let (argument, value) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue));
    let source = all_args(command).find(|arg| {
        argument.as_ref().is_some_and(|name| *name == arg.to_string())
            && value.as_ref().is_some_and(|value| variable(arg).is_some_and(|set| set == value.as_bytes()))
    });
    if let Some(name) = source.and_then(Arg::get_env) {
        error.insert(ContextKind::InvalidArg, ContextValue::String(name.to_string_lossy().into_owned()));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Vec<OsString> {
        let option = |name: &'static str| Arg::new(name).long(name).action(ArgAction::Set);
        let list = Arg::new("worker").long("worker").action(ArgAction::Append);
        let command =
            Command::new("p").arg(option("id").short('i')).subcommand(Command::new("s").arg(option("poll")).arg(list));
        without_empty_options(&command, args.iter().map(OsString::from))
    }

    #[test]
    fn empty_options_are_removed_and_other_empty_arguments_stay() {
        assert_eq!(parsed(&["p", "--id=", "s", "--poll", "", "x"]), ["p", "s", "x"]);
        assert_eq!(parsed(&["p", "-i", "", "--id", "a", ""]), ["p", "--id", "a", ""]);
        assert_eq!(parsed(&["p", "s", "--worker", "", "--worker="]), ["p", "s", "--worker", "", "--worker="]);
        assert_eq!(parsed(&["p", "--", "--id", ""]), ["p", "--", "--id", ""]);
    }
}
