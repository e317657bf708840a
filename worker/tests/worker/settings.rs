//! The docs of the settings say what `WorkerConfig` defines. With `BLESS=1` the test writes them.

use std::path::Path;

use clap::{Arg, ArgAction, Args, Command};
use workflow_graph_worker_sdk::WorkerConfig;

/// A setting as the docs show it.
struct Setting {
    variable: String,
    flag: String,
    default: String,
    help: String,
}

fn settings() -> Vec<Setting> {
    WorkerConfig::augment_args(Command::new("worker")).get_arguments().map(setting).collect()
}

fn setting(arg: &Arg) -> Setting {
    let help = arg.get_help().expect("every setting has a help text").to_string();
    let (help, stated) = help.split_once(" [default: ").map_or((help.as_str(), ""), |(help, rest)| (help, rest));
    let parsed =
        arg.get_default_values().first().map(|value| value.to_string_lossy()).filter(|value| !value.is_empty());
    let default = match arg.get_action() {
        ArgAction::SetTrue => "no".to_owned(),
        _ => parsed.map_or_else(|| stated.trim_end_matches(']').to_owned(), |value| format!("`{value}`")),
    };
    let variable = arg.get_env().expect("every setting has a variable").to_string_lossy().into_owned();
    let flag = format!("--{}", arg.get_long().expect("every setting has a flag"));
    Setting { variable, flag, default, help: help.to_owned() }
}

/// Compares the part of a file between two marker lines with `expected`, or replaces it.
fn check(file: &str, begin: &str, end: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read_to_string(&path).expect("the file is in the repository");
    let (before, rest) = text.split_once(begin).expect("it has the first marker");
    let (found, after) = rest.split_once(end).expect("it has the second marker");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, format!("{before}{begin}{expected}{end}{after}")).expect("written");
    } else {
        assert!(found == expected, "{file} differs from WorkerConfig; BLESS=1 corrects it. Expected:\n{expected}");
    }
}

#[test]
fn the_table_of_settings_is_current() {
    let rows = settings()
        .into_iter()
        .map(|Setting { variable, flag, default, help }| format!("| `{variable}` | `{flag}` | {default} | {help} |\n"));
    let table =
        format!("\n| environment | flag | default | |\n| --- | --- | --- | --- |\n{}", rows.collect::<String>());
    check("docs/workers.md", "<!-- Generated from WorkerConfig -->", "<!-- end -->", &table);
}

#[test]
fn the_settings_in_the_systemd_unit_are_current() {
    let comments = settings().into_iter().map(|Setting { variable, default, help, .. }| {
        let default =
            if default.is_empty() { String::new() } else { format!(" (default: {})", default.replace('`', "")) };
        format!("#   {variable}{default}: {help}\n")
    });
    let comments = format!("\n{}", comments.collect::<String>());
    check("infra/wfg-worker@.service", "# Generated from WorkerConfig:", "# End of settings", &comments);
}
