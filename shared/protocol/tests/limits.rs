//! Generates the table in `docs/limits.md` from `limits.rs`, and fails if they differ.

use std::fmt::Write;
use std::{env, fs};

const SOURCE: &str = include_str!("../src/limits.rs");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/limits.md");
const HEAD: &str = "# Limits

Generated from [`limits.rs`](../shared/protocol/src/limits.rs). To write this page again:
`BLESS=1 cargo test -p workflow-graph-protocol --test limits`. Sizes are in bytes unless the text says otherwise.

| limit | value | meaning |
| --- | --- | --- |
";

/// The value of a product such as `64 * 1_024`, with separators: `65,536`.
fn number(expression: &str) -> String {
    let factor = |text: &str| text.trim().replace('_', "").parse::<u64>().expect("a number");
    let digits = expression.split('*').map(factor).product::<u64>().to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).expect("digits")).collect();
    groups.join(",")
}

fn value(expression: &str) -> String {
    if let Some((low, high)) = expression.split_once("..=") {
        return format!("{} to {}", number(low), number(high));
    }
    let Some((unit, count)) = expression.strip_prefix("Duration::from_").and_then(|text| text.split_once('(')) else {
        return number(expression);
    };
    let count = count.trim_end_matches(')');
    if let ("hours", Some(days)) = (unit, count.strip_suffix(" * 24")) {
        return format!("{} days", number(days));
    }
    let unit = match unit {
        "millis" => "ms",
        "secs" => "s",
        "mins" => "min",
        "hours" => "h",
        other => panic!("{other}"),
    };
    format!("{} {unit}", number(count))
}

#[test]
fn table_in_the_docs_has_every_limit() {
    let mut page = HEAD.to_owned();
    let mut text = Vec::new();
    for line in SOURCE.lines() {
        if let Some(line) = line.strip_prefix("///") {
            text.push(line.trim());
        } else if let Some((name, rest)) = line.strip_prefix("pub const ").and_then(|line| line.split_once(':')) {
            let (_, expression) = rest.split_once(" = ").expect("a value");
            let value = value(expression.trim_end_matches(';'));
            writeln!(page, "| `{name}` | {value} | {} |", text.join(" ")).expect("a string grows");
            text.clear();
        }
    }
    if env::var_os("BLESS").is_some() {
        fs::write(PAGE, &page).expect("the page is written");
    }
    let written = fs::read_to_string(PAGE).expect("the page is there");
    assert!(written == page, "docs/limits.md differs from limits.rs; write it with BLESS=1");
}
