//! Hides secrets in text: logs and errors, before they leave the worker and again when they arrive.
//!
//! What is found becomes [`MASK`]: a value as it is, each line of a value of several lines, and a value as it stands in
//! JSON or in base64, also in the midst of something longer. A part of a value, and a value turned into anything else, is
//! not found. Nor is a text shorter than [`SHORTEST`]: `1` or `yes` hidden everywhere would tell more than it keeps.

use std::borrow::Cow;
use std::sync::Arc;

use crate::secrets::SecretValue;

/// What stands where a secret was.
pub const MASK: &str = "***";
/// A shorter text is not hidden, in bytes.
pub const SHORTEST: usize = 4;
/// Nor is what is left of a shorter one in base64.
const SHORTEST_BASE64: usize = 6;

/// Finds secrets in text; of those that begin at one place the longest.
#[derive(Default)]
pub struct Masker {
    /// Sorted, so that those that begin alike are neighbours. All are UTF-8: what is found in UTF-8 is whole characters.
    wanted: Vec<Box<[u8]>>,
    /// The first bytes there are, so that most places of a text cost one look.
    begins: Vec<bool>,
}

/// What stands at a place of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Here {
    Nothing,
    /// So many bytes of a secret.
    Secret(usize),
    /// Perhaps one that goes on behind the text's end; until then so many bytes of a secret.
    Perhaps(usize),
}

impl Masker {
    /// One that hides these.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a SecretValue>) -> Self {
        let mut wanted: Vec<Box<[u8]>> = values.into_iter().flat_map(|value| forms(value.reveal())).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut begins = vec![false; 256];
        for first in wanted.iter().filter_map(|text| text.first()) {
            begins[usize::from(*first)] = true;
        }
        Self { wanted, begins }
    }

    /// Whether there is nothing to hide.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// The text without the secrets that are whole in it.
    #[must_use]
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.masked(text, true) {
            Some((masked, _)) => Cow::Owned(masked),
            None => Cow::Borrowed(text),
        }
    }

    /// The text without secrets up to where its end may be the beginning of one, and how far that is; `None`: it has
    /// nothing to hide or to wait for.
    fn masked(&self, text: &str, ends: bool) -> Option<(String, usize)> {
        let bytes = text.as_bytes();
        let mut masked: Option<String> = None;
        let (mut at, mut shown) = (0, 0);
        while at < bytes.len() {
            let found = match self.here(&bytes[at..]) {
                Here::Secret(length) => length,
                Here::Perhaps(length) if ends => length,
                Here::Perhaps(_) => {
                    let mut masked = masked.unwrap_or_default();
                    masked.push_str(&text[shown..at]);
                    return Some((masked, at));
                }
                Here::Nothing => 0,
            };
            if found == 0 {
                at += 1;
                continue;
            }
            let masked = masked.get_or_insert_default();
            masked.push_str(&text[shown..at]);
            masked.push_str(MASK);
            at += found;
            shown = at;
        }
        masked.map(|masked| (masked + &text[shown..], at))
    }

    fn here(&self, text: &[u8]) -> Here {
        if !text.first().is_some_and(|first| self.begins.get(usize::from(*first)).is_some_and(|begins| *begins)) {
            return Here::Nothing;
        }
        // Those that agree with the text so far.
        let mut left = self.wanted.as_slice();
        let mut longest = 0;
        for (at, byte) in text.iter().enumerate() {
            let from = left.partition_point(|text| text.get(at).is_none_or(|other| other < byte));
            let to = left.partition_point(|text| text.get(at).is_none_or(|other| other <= byte));
            left = &left[from..to];
            match left {
                [] => break,
                // The shortest of those that begin alike comes first.
                [first, rest @ ..] if first.len() == at + 1 => {
                    longest = at + 1;
                    left = rest;
                    if rest.is_empty() {
                        break;
                    }
                }
                _ => {}
            }
        }
        match (left, longest) {
            ([_, ..], longest) => Here::Perhaps(longest),
            ([], 0) => Here::Nothing,
            ([], longest) => Here::Secret(longest),
        }
    }
}

/// Hides secrets in a text that comes in parts, also those that are in several. What may be the beginning of one is kept
/// until more has come.
pub struct MaskStream {
    masker: Arc<Masker>,
    kept: String,
}

impl MaskStream {
    /// Of one text.
    #[must_use]
    pub fn new(masker: Arc<Masker>) -> Self {
        Self { masker, kept: String::new() }
    }

    /// What can be shown now that this part has come.
    #[must_use]
    pub fn push(&mut self, part: String) -> String {
        if self.masker.is_empty() {
            return part;
        }
        let text = if self.kept.is_empty() { part } else { std::mem::take(&mut self.kept) + &part };
        let Some((masked, done)) = self.masker.masked(&text, false) else { return text };
        text[done..].clone_into(&mut self.kept);
        masked
    }

    /// What was kept, now that the text has ended.
    #[must_use]
    pub fn finish(&mut self) -> String {
        let kept = std::mem::take(&mut self.kept);
        self.masker.mask(&kept).into_owned()
    }
}

/// Digits in a line, as `base64` and `openssl` write them.
const WRAPPED: [usize; 2] = [76, 64];

/// What a value may look like.
fn forms(value: &str) -> Vec<Box<[u8]>> {
    let trimmed = value.trim();
    let mut forms: Vec<String> = vec![value.to_owned(), trimmed.to_owned()];
    if trimmed.contains('\n') {
        forms.extend(trimmed.lines().map(|line| line.trim().to_owned()));
    }
    if let Ok(json) = serde_json::to_string(trimmed) {
        forms.push(json[1..json.len() - 1].to_owned());
    }
    forms.retain(|text| text.len() >= SHORTEST);
    if value.len() >= SHORTEST {
        let encoded = [value, trimmed].into_iter().flat_map(|text| (0..3).map(|before| base64(text, before)));
        let encoded: Vec<String> = encoded.filter(|text| text.len() >= SHORTEST_BASE64).collect();
        forms.extend(encoded.iter().map(|text| text.replace('+', "-").replace('/', "_")));
        let whole = base64(value, 0);
        forms.extend(
            WRAPPED.iter().flat_map(|width| lines(&whole, *width)).filter(|text| text.len() >= SHORTEST_BASE64),
        );
        forms.extend(encoded);
    }
    forms.into_iter().map(|text| text.into_bytes().into()).collect()
}

fn lines(digits: &str, width: usize) -> Vec<String> {
    digits.as_bytes().chunks(width).map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

/// The digits that follow from the text alone when so many other bytes stand before it.
fn base64(text: &str, before: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes = text.as_bytes();
    let bit = |n: usize| (bytes[n / 8 - before] >> (7 - n % 8)) & 1;
    let (from, to) = ((before * 8).div_ceil(6), (before + bytes.len()) * 8 / 6);
    let digit = |at: usize| (at * 6..at * 6 + 6).fold(0, |digit, n| (digit << 1) | bit(n));
    (from..to).map(|at| char::from(DIGITS[usize::from(digit(at))])).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masker(values: &[&str]) -> Masker {
        let values: Vec<_> = values.iter().map(|value| SecretValue::new(*value).expect("a value")).collect();
        Masker::new(&values)
    }

    fn in_parts(masker: Masker, text: &str, size: usize) -> String {
        let mut stream = MaskStream::new(Arc::new(masker));
        let chars: Vec<char> = text.chars().collect();
        let shown: String = chars.chunks(size).map(|part| stream.push(part.iter().collect())).collect();
        shown + &stream.finish()
    }

    #[test]
    fn a_long_value_is_hidden_in_base64_of_several_lines() {
        let value = "0123456789abcdef".repeat(8);
        let digits = base64(&value, 0);
        for width in WRAPPED {
            let wrapped = lines(&digits, width).join("\n");
            let shown = masker(&[&value]).mask(&wrapped).into_owned();
            assert!(shown.split('\n').all(|line| line.starts_with("***") && line.len() < 8), "{shown}");
        }
    }

    #[test]
    fn a_value_is_hidden_wherever_it_stands_and_nothing_else_is() {
        let masker = masker(&["hunter22", "é🦀é"]);
        assert_eq!(masker.mask("hunter22 xhunter22hunter22y hunter2"), "*** x******y hunter2");
        assert_eq!(masker.mask("aé🦀éb é🦀"), "a***b é🦀");
        assert!(matches!(masker.mask("nothing here"), Cow::Borrowed("nothing here")));
        assert!(Masker::default().is_empty());
        assert_eq!(Masker::default().mask("hunter22"), "hunter22");
    }

    #[test]
    fn of_values_that_begin_alike_the_longest_is_hidden() {
        let masker = masker(&["abcd", "abcdefgh", "abcdefgx"]);
        assert_eq!(masker.mask("abcdefgh|abcdefgx|abcdefg|abcd|abc"), "***|***|***efg|***|abc");
    }

    #[test]
    fn each_line_of_a_value_of_several_is_hidden_and_all_of_them_together() {
        let masker = masker(&["-----BEGIN\r\n  abcdef\r\n}\nlast\n"]);
        assert_eq!(masker.mask("-----BEGIN\r\n  abcdef\r\n}\nlast\n."), "***.");
        assert_eq!(masker.mask("> abcdef\n> }\n> last"), "> ***\n> }\n> ***");
        assert_eq!(masker.mask(r#"{"key":"-----BEGIN\r\n  abcdef\r\n}\nlast"}"#), r#"{"key":"***"}"#);
    }

    #[test]
    fn a_value_shorter_than_four_bytes_is_not_hidden() {
        assert_eq!(masker(&["yes", "1"]).mask("yes 1"), "yes 1");
        assert_eq!(masker(&["yeah"]).mask("yeah"), "***");
    }

    #[test]
    fn a_value_in_base64_is_hidden_in_the_midst_of_something_longer_too() {
        let masker = masker(&["hunter22-??>>"]);
        for (text, shown) in [
            ("dXNlcjpodW50ZXIyMi0/Pz4+", "dXNlcjp***"),
            ("dXNlcnM6aHVudGVyMjItPz8+Pg==", "dXNlcnM6***g=="),
            ("dXNlcnMyOmh1bnRlcjIyLT8/Pj4=", "dXNlcnMyOm***4="),
            ("dXNlcjpodW50ZXIyMi0_Pz4-", "dXNlcjp***"),
        ] {
            assert_eq!(masker.mask(text), shown);
        }
    }

    proptest! {
        #[test]
        fn a_text_in_parts_is_masked_as_one(
            text in "(abcd|abcdabce|é\n|[a-eé\n ]){0,40}",
            size in 1_usize..9,
        ) {
            let values = ["abcd", "abcdabce", "eé\nab", "a\nbcde"];
            let whole = masker(&values).mask(&text).into_owned();
            prop_assert_eq!(in_parts(masker(&values), &text, size), whole);
        }

        #[test]
        fn no_value_is_left_in_a_masked_text(
            values in prop::collection::vec("[ab]{4,9}", 1..4),
            text in "[ab]{0,60}",
        ) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let masked = masker(&values).mask(&text).into_owned();
            prop_assert!(values.iter().all(|value| !masked.contains(value)), "{masked}");
        }
    }
}
