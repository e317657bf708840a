//! The byte order mark that some editors and programs put in front of a text in UTF-8.

/// The mark. It is no part of the text.
pub const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The text without its byte order mark.
#[must_use]
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// As [`without_mark`], of bytes that may not be UTF-8.
#[must_use]
pub fn bytes_without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK.as_bytes()).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_order_mark_is_removed_from_the_beginning() {
        for (text, without) in
            [("", ""), ("a", "a"), ("\u{feff}a", "a"), ("\u{feff}\u{feff}", "\u{feff}"), ("a\u{feff}", "a\u{feff}")]
        {
            assert_eq!(without_mark(text), without);
            assert_eq!(bytes_without_mark(text.as_bytes()), without.as_bytes());
        }
        assert_eq!(bytes_without_mark(b"\xef\xbb\xbf\xff"), b"\xff");
    }
}
