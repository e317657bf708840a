//! Formats lists and counts, escapes control characters.

use std::fmt::Display;

/// The most of a value or an error that is shown in passing.
const SHOWN: usize = 160;

/// `1 job`, `2 jobs`.
pub fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// `a`, `a and b`, `a, b and c`; of many the first ones and how many more there are.
pub fn all_of<T: Display>(things: impl IntoIterator<Item = T>) -> String {
    list(things, "and")
}

/// As [`all_of`], with `or`.
pub fn one_of<T: Display>(things: impl IntoIterator<Item = T>) -> String {
    list(things, "or")
}

fn list<T: Display>(things: impl IntoIterator<Item = T>, last_word: &str) -> String {
    const NAMED: usize = 6;
    let mut things: Vec<String> = things.into_iter().map(|thing| clean(&thing.to_string())).collect();
    if things.len() > NAMED + 1 {
        let more = things.len() - NAMED;
        things.truncate(NAMED);
        things.push(format!("{more} more"));
    }
    match things.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} {last_word} {last}", first.join(", ")),
    }
}

/// Text of unknown origin on one line: control characters escaped, cut with an ellipsis.
pub fn line(text: &str) -> String {
    value(text.trim_end())
}

/// A value of unknown origin on one line, to its last character, cut with an ellipsis.
pub fn value(text: &str) -> String {
    let mut shown: String = clean(text).chars().take(SHOWN + 1).collect();
    if shown.chars().count() > SHOWN {
        shown.pop();
        shown.push('…');
    }
    shown
}

/// Text with its control characters escaped, so that it can't move the cursor, colour the screen or turn the direction
/// of the text around it.
pub fn clean(text: &str) -> String {
    let escape = |c: char| if is_unsafe(c) { c.escape_default().collect() } else { String::from(c) };
    text.chars().map(escape).collect()
}

/// As [`clean`], of a text whose lines are shown as lines.
pub fn clean_lines(text: &str) -> String {
    text.split('\n').map(clean).collect::<Vec<_>>().join("\n")
}

fn is_unsafe(c: char) -> bool {
    let invisible =
        matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || invisible || c == '\u{feff}'
}

/// A text as one word of a shell command.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/@%+=[]".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The lines of a piece of a log.
///
/// A piece without a line end at its end is a whole line, as some workers send them, unless it is so long that it must
/// be a part of one.
pub fn log_lines<'a>(rest: &mut String, data: &'a str) -> Vec<std::borrow::Cow<'a, str>> {
    use std::borrow::Cow;
    const PART: usize = 16 * 1024;
    let mut lines = Vec::new();
    let goes_on = data.len() >= PART && !data.ends_with('\n');
    let mut pieces = data.split_inclusive('\n').peekable();
    while let Some(piece) = pieces.next() {
        if goes_on && pieces.peek().is_none() {
            rest.push_str(piece);
        } else if rest.is_empty() {
            lines.push(Cow::Borrowed(piece.trim_end_matches(['\n', '\r'])));
        } else {
            let begun = std::mem::take(rest) + piece.trim_end_matches(['\n', '\r']);
            lines.push(Cow::Owned(begun));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_as_sentences() {
        assert_eq!(all_of::<&str>([]), "");
        assert_eq!(all_of(["a"]), "a");
        assert_eq!(all_of(["a", "b", "c"]), "a, b and c");
        assert_eq!(all_of(1..=7), "1, 2, 3, 4, 5, 6 and 7");
        assert_eq!(all_of(1..=9), "1, 2, 3, 4, 5, 6 and 3 more");
        assert_eq!((count(1, "job"), count(0, "job")), ("1 job".to_owned(), "0 jobs".to_owned()));
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(line("a\x1b[2Jb\nc\n"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(clean("a\u{202e}b\u{feff}\u{9b}\x7f"), "a\\u{202e}b\\u{feff}\\u{9b}\\u{7f}");
        assert_eq!(clean_lines("a\r\nb\x1b"), "a\\r\nb\\u{1b}");
        assert_eq!(all_of(["a\x1b", "b"]), "a\\u{1b} and b");
        assert_eq!(line(&"é".repeat(200)).chars().count(), 161);
    }

    #[test]
    fn a_value_is_shown_to_its_last_character() {
        assert_eq!(value("1.2\r"), "1.2\\r");
        assert_eq!(value("x \n"), "x \\n");
        assert_eq!(value(&"x".repeat(200)).chars().count(), 161);
    }

    #[test]
    fn a_word_with_special_characters_is_quoted_for_the_shell() {
        assert_eq!(shell_word("gpu,linux"), "gpu,linux");
        assert_eq!(shell_word("$(x)"), "'$(x)'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn a_log_is_cut_into_lines_wherever_its_pieces_end() {
        let mut rest = String::new();
        assert_eq!(log_lines(&mut rest, "a\r\n\nb\n"), ["a", "", "b"]);
        assert_eq!(log_lines(&mut rest, "no line end"), ["no line end"]);
        let long = "x".repeat(20_000);
        assert!(log_lines(&mut rest, &long).is_empty());
        assert_eq!(log_lines(&mut rest, "end\nnext\n"), [format!("{long}end"), "next".to_owned()]);
        assert_eq!(rest, "");
    }
}
