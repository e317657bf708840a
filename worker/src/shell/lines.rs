//! Splits a byte stream into text that ends with a line end, with a limit on the length of a piece.

use crate::sink::PIECE;

/// Cuts a stream of bytes into whole lines; a line longer than [`PIECE`] into parts.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
    /// Whether a part of the last line was returned.
    split: bool,
}

impl Lines {
    /// Adds bytes. Returns all lines that are now complete, with their line ends.
    pub fn push(&mut self, bytes: &[u8]) -> Option<String> {
        let line_end = memchr::memrchr(b'\n', bytes).map(|end| self.rest.len() + end + 1);
        self.rest.extend_from_slice(bytes);
        let cut = match line_end {
            Some(end) => end,
            None if self.rest.len() >= PIECE => self.rest.len() - unfinished_char(&self.rest),
            None => return None,
        };
        self.split = line_end.is_none();
        let after = self.rest.split_off(cut);
        Some(text(std::mem::replace(&mut self.rest, after)))
    }

    /// Returns the last line if it has no line end, and adds one.
    pub fn finish(&mut self) -> Option<String> {
        let mut rest = std::mem::take(&mut self.rest);
        if rest.is_empty() && !self.split {
            return None;
        }
        self.split = false;
        rest.push(b'\n');
        Some(text(rest))
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Number of bytes at the end that are an incomplete character.
fn unfinished_char(bytes: &[u8]) -> usize {
    // The longest character has 4 bytes, so the last chunk of the tail is the end of the text.
    let tail = &bytes[bytes.len().saturating_sub(4)..];
    tail.utf8_chunks().last().map_or(0, |chunk| chunk.invalid().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], step: usize) -> Vec<String> {
        let mut lines = Lines::default();
        let mut pieces: Vec<_> = bytes.chunks(step).filter_map(|chunk| lines.push(chunk)).collect();
        pieces.extend(lines.finish());
        pieces
    }

    #[test]
    fn lines_come_whole_however_the_bytes_arrive() {
        for step in 1..10 {
            let pieces = all("één\ntwo\n\nlast".as_bytes(), step);
            assert_eq!(pieces.concat(), "één\ntwo\n\nlast\n");
            assert!(pieces.iter().all(|piece| piece.ends_with('\n')));
        }
    }

    #[test]
    fn a_very_long_line_is_split_between_characters() {
        // The last read ends a piece and the stream, so that nothing is left for the end.
        assert_eq!(all("x".repeat(2 * PIECE).as_bytes(), PIECE).concat(), "x".repeat(2 * PIECE) + "\n");
        let line = "a".to_owned() + &"🦀".repeat(100_000);
        for step in [4093, 8192, 65_536] {
            let pieces = all(line.as_bytes(), step);
            assert_eq!(pieces.concat().trim_end(), line);
            assert!(pieces.len() >= 3 && pieces.iter().all(|piece| piece.len() <= 2 * PIECE));
        }
    }

    #[test]
    fn invalid_utf_8_is_replaced_without_delay() {
        assert_eq!(all(b"a\xff\xfeb\n", 2).concat(), "a\u{fffd}\u{fffd}b\n");
        let noise = vec![0xE2; 3 * PIECE];
        let pieces = all(&noise, 8192);
        assert!(pieces.len() >= 3);
        assert_eq!(pieces.concat().chars().filter(|&c| c == '\u{fffd}').count(), noise.len());
    }
}
