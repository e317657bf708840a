//! Fuzz target `patterns`: patterns of names and paths, one a line, and a name on the last line.

use workflow::Patterns;

/// Longer texts take the plain matcher below too long.
const LONGEST: usize = 40;

/// The list decides as a plain matcher does that tries everything.
///
/// # Panics
/// If the property is broken.
pub fn patterns(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines: Vec<&str> = text.split('\n').collect();
    let Some(name) = lines.pop() else { return };
    // A long list too must be decided quickly.
    let decided = Patterns::new(lines.iter().map(|line| (*line).to_owned()).collect()).has(name);
    if text.len() > LONGEST {
        return;
    }
    let matching = lines.iter().rev().find(|line| matches(line.strip_prefix('!').unwrap_or(line), name, true));
    let expected = matching.is_some_and(|line| !line.starts_with('!'));
    assert_eq!(decided, expected, "{lines:?} and {name:?}");
}

/// `begins`: the pattern is at its beginning or after a `/`, where `**/` is any number of folders.
fn matches(pattern: &str, name: &str, begins: bool) -> bool {
    if begins && let Some(rest) = pattern.strip_prefix("**/") {
        let after_folders = name.match_indices('/').map(|(at, _)| &name[at + 1..]);
        return std::iter::once(name).chain(after_folders).any(|name| matches(rest, name, true));
    }
    if pattern.starts_with("**") {
        let rest = pattern.trim_start_matches('*');
        return suffixes(name).any(|name| matches(rest, name, false));
    }
    if let Some(rest) = pattern.strip_prefix('*') {
        let until_slash = name.find('/').unwrap_or(name.len());
        return suffixes(name)
            .filter(|left| name.len() - left.len() <= until_slash)
            .any(|name| matches(rest, name, false));
    }
    let Some(one) = pattern.chars().next() else { return name.is_empty() };
    let rest = &pattern[one.len_utf8()..];
    name.strip_prefix(one).is_some_and(|name| matches(rest, name, one == '/'))
}

fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    name.char_indices().map(|(at, _)| &name[at..]).chain([""])
}
