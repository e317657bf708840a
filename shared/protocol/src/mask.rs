//! Masks secrets in text: in logs and errors, before they leave the worker and again when they arrive.
//!
//! Each occurrence becomes [`MASK`]. A secret is found as it is, each line of a secret of several lines, and as it appears
//! in JSON or in base64, also inside a longer text. A part of a secret is found only by [`Masker::edges`], and no other
//! encoding is found. A text shorter than [`SHORTEST`] is not masked: masking `1` or `yes` everywhere would reveal the
//! secret.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::secrets::SecretValue;

/// The text that replaces a secret.
pub const MASK: &str = "***";
/// The length in bytes of the shortest text that is masked.
pub const SHORTEST: usize = 4;
/// The length of the shortest base64 text that is masked.
const SHORTEST_BASE64: usize = 6;

/// Finds secrets in text. Where several begin at the same position, the longest is masked.
#[derive(Default)]
pub struct Masker {
    /// The texts to mask, sorted, so that texts with a common beginning are neighbours. All are valid UTF-8, so a match in
    /// UTF-8 text covers whole characters.
    patterns: Vec<Box<[u8]>>,
    /// True for each byte that a pattern begins with, so that most positions of a text cost one lookup.
    first_bytes: Vec<bool>,
}

/// The match at one position of a text, with its length in bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    None,
    /// A whole secret.
    Whole(usize),
    /// A secret may continue after the end of the text. The length is that of the longest whole secret so far, or 0.
    Partial(usize),
}

impl Masker {
    /// Creates a masker of these secrets.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a SecretValue>) -> Self {
        let mut patterns: Vec<Box<[u8]>> = values.into_iter().flat_map(|value| forms(value.reveal())).collect();
        patterns.sort_unstable();
        patterns.dedup();
        let mut first_bytes = vec![false; 256];
        for first in patterns.iter().filter_map(|text| text.first()) {
            first_bytes[usize::from(*first)] = true;
        }
        Self { patterns, first_bytes }
    }

    /// Returns true if there is nothing to mask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Masks every secret that is whole in the text.
    #[must_use]
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.masked(text, true) {
            Some((masked, _)) => Cow::Owned(masked),
            None => Cow::Borrowed(text),
        }
    }

    /// Masks the text up to a position at which a secret may begin that continues after the text, unless the text
    /// `ends`. Returns the masked text and that position, or `None` if the text stays as it is.
    fn masked(&self, text: &str, ends: bool) -> Option<(String, usize)> {
        let bytes = text.as_bytes();
        let mut masked: Option<String> = None;
        let (mut at, mut copied) = (0, 0);
        while at < bytes.len() {
            let length = match self.match_at(&bytes[at..]) {
                Match::Whole(length) => length,
                Match::Partial(length) if ends => length,
                Match::Partial(_) => {
                    let mut masked = masked.unwrap_or_default();
                    masked.push_str(&text[copied..at]);
                    return Some((masked, at));
                }
                Match::None => 0,
            };
            if length == 0 {
                at += 1;
                continue;
            }
            let masked = masked.get_or_insert_default();
            masked.push_str(&text[copied..at]);
            masked.push_str(MASK);
            at += length;
            copied = at;
        }
        masked.map(|masked| (masked + &text[copied..], at))
    }

    fn match_at(&self, text: &[u8]) -> Match {
        if !text.first().is_some_and(|first| self.first_bytes.get(usize::from(*first)).is_some_and(|begins| *begins)) {
            return Match::None;
        }
        // The patterns that agree with the text so far.
        let mut left = self.patterns.as_slice();
        let mut longest = 0;
        for (at, byte) in text.iter().enumerate() {
            let from = left.partition_point(|text| text.get(at).is_none_or(|other| other < byte));
            let to = left.partition_point(|text| text.get(at).is_none_or(|other| other <= byte));
            left = &left[from..to];
            match left {
                [] => break,
                // Of patterns with a common beginning, the shortest is first.
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
            ([_, ..], longest) => Match::Partial(longest),
            ([], 0) => Match::None,
            ([], longest) => Match::Whole(longest),
        }
    }
}

/// The shortest part of a secret that is masked at the edge of a text, unless half of the secret is shorter.
const SHORTEST_PART: usize = 4;

impl Masker {
    /// Returns how many bytes at the beginning of a text may be the end of a secret, and how many at its end may be the
    /// beginning of one. For a text whose neighbours aren't known, such as one request's part of a log.
    ///
    /// Shorter parts than [`SHORTEST_PART`] are ignored, so up to three bytes of a split secret stay visible.
    #[must_use]
    pub fn edges(&self, text: &str) -> (usize, usize) {
        let text = text.as_bytes();
        let (mut head, mut tail) = (0, 0);
        for pattern in &self.patterns {
            let shortest = SHORTEST_PART.min(pattern.len().div_ceil(2));
            let lengths = || (shortest..pattern.len().min(text.len() + 1)).rev();
            head = head.max(lengths().find(|&n| text[..n] == pattern[pattern.len() - n..]).unwrap_or(0));
            tail = tail.max(lengths().find(|&n| text[text.len() - n..] == pattern[..n]).unwrap_or(0));
            // The text may also be the middle of a secret.
            if (shortest..pattern.len()).contains(&text.len()) && pattern.windows(text.len()).any(|part| part == text) {
                return (text.len(), 0);
            }
        }
        (head, tail.min(text.len() - head))
    }
}

/// Masks secrets in a text that arrives in parts, including secrets that are split over several parts. A suffix that may
/// be the beginning of a secret is withheld until the next part arrives.
pub struct MaskStream {
    masker: Arc<Masker>,
    withheld: String,
}

impl MaskStream {
    /// Creates the state of one text.
    #[must_use]
    pub fn new(masker: Arc<Masker>) -> Self {
        Self { masker, withheld: String::new() }
    }

    /// Adds a part. Returns the masked text that no later part can change.
    #[must_use]
    pub fn push(&mut self, part: String) -> String {
        if self.masker.is_empty() {
            return part;
        }
        let text = if self.withheld.is_empty() { part } else { std::mem::take(&mut self.withheld) + &part };
        let Some((masked, done)) = self.masker.masked(&text, false) else { return text };
        text[done..].clone_into(&mut self.withheld);
        masked
    }

    /// Returns true if it withholds text that ends with a line end.
    #[must_use]
    pub fn withholds_lines(&self) -> bool {
        self.withheld.ends_with('\n')
    }

    /// Returns withheld text, masked, if it ends with a line end. For a text that has been silent for a while: each line of
    /// a secret is masked by itself too, so that the rest of a secret that follows later doesn't show.
    #[must_use]
    pub fn flush_lines(&mut self) -> String {
        if self.withholds_lines() { self.finish() } else { String::new() }
    }

    /// Returns the withheld rest, masked, after the last part.
    #[must_use]
    pub fn finish(&mut self) -> String {
        let withheld = std::mem::take(&mut self.withheld);
        self.masker.mask(&withheld).into_owned()
    }
}

/// The line lengths of base64 as the programs `base64` and `openssl` write it.
const WRAPPED: [usize; 2] = [76, 64];

/// Returns the texts in which a secret may appear.
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
        let whole = base64(value, 0);
        let encoded = encoded.chain(WRAPPED.iter().flat_map(|width| lines(&whole, *width)));
        let encoded: Vec<String> = encoded.filter(|text| text.len() >= SHORTEST_BASE64).collect();
        forms.extend(encoded.iter().map(|text| text.replace('+', "-").replace('/', "_")));
        forms.extend(encoded);
    }
    forms.into_iter().map(|text| text.into_bytes().into()).collect()
}

fn lines(digits: &str, width: usize) -> Vec<String> {
    digits.as_bytes().chunks(width).map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

/// Returns the base64 digits that depend only on the text if it follows `before` other bytes.
fn base64(text: &str, before: usize) -> String {
    let digits = STANDARD_NO_PAD.encode([&vec![0; before], text.as_bytes()].concat());
    digits[(before * 8).div_ceil(6)..(before + text.len()) * 8 / 6].to_owned()
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
    fn long_secret_is_masked_in_base64_of_several_lines() {
        let value = "0123456789abcdef".repeat(8);
        let digits = base64(&value, 0);
        for width in WRAPPED {
            let wrapped = lines(&digits, width).join("\n");
            let shown = masker(&[&value]).mask(&wrapped).into_owned();
            assert!(shown.split('\n').all(|line| line.starts_with("***") && line.len() < 8), "{shown}");
        }
    }

    #[test]
    fn secret_is_masked_at_every_position_and_other_text_is_not() {
        let masker = masker(&["hunter22", "é🦀é"]);
        assert_eq!(masker.mask("hunter22 xhunter22hunter22y hunter2"), "*** x******y hunter2");
        assert_eq!(masker.mask("aé🦀éb é🦀"), "a***b é🦀");
        assert!(matches!(masker.mask("nothing here"), Cow::Borrowed("nothing here")));
        assert!(Masker::default().is_empty());
        assert_eq!(Masker::default().mask("hunter22"), "hunter22");
    }

    #[test]
    fn longest_of_several_secrets_with_one_beginning_is_masked() {
        let masker = masker(&["abcd", "abcdefgh", "abcdefgx"]);
        assert_eq!(masker.mask("abcdefgh|abcdefgx|abcdefg|abcd|abc"), "***|***|***efg|***|abc");
    }

    #[test]
    fn lines_of_a_secret_are_masked_together_and_one_by_one() {
        let masker = masker(&["-----BEGIN\r\n  abcdef\r\n}\nlast\n"]);
        assert_eq!(masker.mask("-----BEGIN\r\n  abcdef\r\n}\nlast\n."), "***.");
        assert_eq!(masker.mask("> abcdef\n> }\n> last"), "> ***\n> }\n> ***");
        assert_eq!(masker.mask(r#"{"key":"-----BEGIN\r\n  abcdef\r\n}\nlast"}"#), r#"{"key":"***"}"#);
    }

    #[test]
    fn secret_shorter_than_four_bytes_is_not_masked() {
        assert_eq!(masker(&["yes", "1"]).mask("yes 1"), "yes 1");
        assert_eq!(masker(&["yeah"]).mask("yeah"), "***");
    }

    #[test]
    fn secret_is_masked_in_base64_of_a_longer_text() {
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

    #[test]
    fn edges_of_a_text_may_be_parts_of_a_split_secret() {
        let masker = masker(&["hunter22"]);
        assert_eq!(masker.edges("er22 and hunte"), (4, 5));
        assert_eq!(masker.edges("r22 and hun"), (0, 0), "shorter parts are ignored");
        assert_eq!(masker.edges("unter2"), (6, 0), "the middle of a secret");
        assert_eq!(masker.edges("er22"), (4, 0));
        assert_eq!([masker.edges(""), masker.edges("other text")], [(0, 0), (0, 0)]);
    }

    #[test]
    fn half_of_a_short_secret_is_masked_at_an_edge() {
        let masker = masker(&["abcde"]);
        assert_eq!([masker.edges("x abc"), masker.edges("x ab"), masker.edges("cde x")], [(0, 3), (0, 0), (3, 0)]);
    }

    #[test]
    fn withheld_lines_can_be_shown_before_the_rest_of_a_secret_arrives() {
        let mut stream = MaskStream::new(Arc::new(masker(&["begin\nmiddle", "hunter22"])));
        assert_eq!(stream.push("x\nbegin\n".to_owned()), "x\n");
        assert!(stream.withholds_lines());
        assert_eq!(stream.flush_lines() + &stream.push("middle\nhunt".to_owned()), "***\n***\n");
        assert_eq!(stream.flush_lines() + &stream.push("er22\n".to_owned()), "***\n");
    }

    #[test]
    fn parts_of_a_secret_at_both_edges_of_a_text_do_not_overlap() {
        assert_eq!(masker(&["abababab"]).edges("abababab"), (6, 2));
    }

    proptest! {
        #[test]
        fn text_in_parts_is_masked_like_the_whole_text(
            text in "(abcd|abcdabce|é\n|[a-eé\n ]){0,40}",
            size in 1_usize..9,
        ) {
            let values = ["abcd", "abcdabce", "eé\nab", "a\nbcde"];
            let whole = masker(&values).mask(&text).into_owned();
            prop_assert_eq!(in_parts(masker(&values), &text, size), whole);
        }

        #[test]
        fn masked_text_contains_no_secret(
            values in prop::collection::vec("[ab]{4,9}", 1..4),
            text in "[ab]{0,60}",
        ) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let masked = masker(&values).mask(&text).into_owned();
            prop_assert!(values.iter().all(|value| !masked.contains(value)), "{masked}");
        }
    }
}
