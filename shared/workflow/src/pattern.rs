//! Patterns of names and paths: `*` stops at `/`, `**` doesn't, `!` excludes, and the last match decides.

use serde::{Deserialize, Serialize};

/// A list of patterns. The last that matches a name decides whether the list has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Patterns(Vec<String>);

impl Patterns {
    /// Creates a list. Checks nothing: the caller has checked sizes.
    #[must_use]
    pub fn new(patterns: Vec<String>) -> Self {
        Self(patterns)
    }

    /// True if the last pattern that matches the name doesn't begin with `!`. False if none matches.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let decides = self.0.iter().rev().find(|pattern| matches(excluded(pattern).unwrap_or(pattern), name));
        decides.is_some_and(|pattern| excluded(pattern).is_none())
    }

    /// True if the list has one of the names.
    pub fn has_any<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> bool {
        names.into_iter().any(|name| self.has(name))
    }

    /// True if every pattern excludes, so that the list has no name at all.
    #[must_use]
    pub fn only_exclude(&self) -> bool {
        self.0.iter().all(|pattern| excluded(pattern).is_some())
    }
}

fn excluded(pattern: &str) -> Option<&str> {
    pattern.strip_prefix('!')
}

/// A part of a pattern.
#[derive(Clone, Copy)]
enum Part {
    One(char),
    /// Any characters but `/`.
    Star,
    /// Any characters.
    Stars,
    /// `**/` at the beginning or after a `/`: folders, or none.
    Folders,
}

fn parts(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let at_begin = matches!(parts.last(), None | Some(Part::One('/') | Part::Folders));
        let (part, length) = match rest {
            _ if at_begin && rest.starts_with("**/") => (Part::Folders, 3),
            _ if rest.starts_with("**") => (Part::Stars, rest.len() - rest.trim_start_matches('*').len()),
            _ if first == '*' => (Part::Star, 1),
            _ => (Part::One(first), first.len_utf8()),
        };
        parts.push(part);
        rest = &rest[length..];
    }
    parts
}

/// True if the whole name matches. Takes time in proportion to the pattern's size and the name's.
fn matches(pattern: &str, name: &str) -> bool {
    let parts = parts(pattern);
    // `alive[n]`: the first n parts can match what was read so far.
    let mut alive = vec![false; parts.len() + 1];
    alive[0] = true;
    skip_empty(&parts, &mut alive, true);
    for c in name.chars() {
        let mut next = vec![false; parts.len() + 1];
        for (n, part) in parts.iter().enumerate().filter(|(n, _)| alive[*n]) {
            match part {
                Part::One(one) => next[n + 1] |= *one == c,
                Part::Star => next[n] |= c != '/',
                Part::Stars | Part::Folders => next[n] = true,
            }
        }
        skip_empty(&parts, &mut next, c == '/');
        alive = next;
    }
    alive[parts.len()]
}

/// Goes past the parts that may match nothing. Folders end after a `/`, or before they began.
fn skip_empty(parts: &[Part], alive: &mut [bool], after_slash: bool) {
    for (n, part) in parts.iter().enumerate() {
        let may_end = match part {
            Part::One(_) => false,
            Part::Star | Part::Stars => true,
            Part::Folders => after_slash,
        };
        alive[n + 1] |= alive[n] && may_end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stops_at_a_slash_and_two_do_not() {
        for (pattern, has, has_not) in [
            ("main", &["main"][..], &["Main", "main2", "a/main", ""][..]),
            ("*", &["main", ""], &["a/b"]),
            ("release/*", &["release/1", "release/"], &["release", "release/1/2"]),
            ("release/**", &["release/1", "release/1/2"], &["release", "prerelease/1"]),
            ("v*.*", &["v1.2", "v1.2.3"], &["v1", "v1/2.3"]),
            ("**", &["", "a", "a/b"], &[]),
            ("**/*.rs", &["a.rs", "src/a.rs", "src/b/a.rs"], &["a.rs/b", "ars"]),
            ("src/**/test", &["src/test", "src/a/test", "src/a/b/test"], &["srctest", "src/atest", "src/a/test/b"]),
            ("a**z", &["az", "a/b/z"], &["a", "z"]),
            ("$(id)", &["$(id)"], &["id"]),
            ("[ab]?", &["[ab]?"], &["a", "ab"]),
            ("é*", &["éa"], &["e"]),
        ] {
            let patterns = Patterns::new(vec![pattern.to_owned()]);
            for name in has {
                assert!(patterns.has(name), "{pattern} has {name}");
            }
            for name in has_not {
                assert!(!patterns.has(name), "{pattern} has not {name}");
            }
        }
    }

    #[test]
    fn the_last_match_decides() {
        let patterns = |all: &[&str]| Patterns::new(all.iter().map(|one| (*one).to_owned()).collect());
        let docs = patterns(&["**", "!docs/**", "docs/api/**"]);
        assert!(docs.has("src/a") && !docs.has("docs/a") && docs.has("docs/api/a"));
        assert!(docs.has_any(["docs/a", "src/a"]) && !docs.has_any(["docs/a"]));
        assert!(!patterns(&["!docs/**", "**"]).only_exclude() && patterns(&["!docs/**"]).only_exclude());
        assert!(!patterns(&["!docs/**"]).has("src/a") && !patterns(&[]).has("a"));
    }

    #[test]
    fn many_stars_take_no_longer_than_the_sizes_say() {
        let pattern = "a*".repeat(120) + "b";
        assert!(!matches(&pattern, &"a".repeat(4000)));
    }
}
