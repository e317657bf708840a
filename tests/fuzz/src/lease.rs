//! Fuzz target `lease`: arbitrary text as a lease, a ticket or a token.

use engine::access::TokenText;
use engine::ids::{LeaseToken, Principal, Ticket};

/// A value that is parsed from a text is written as the same text. So no two texts are the same lease, ticket or token.
///
/// # Panics
/// If the property is broken.
pub fn lease(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for principal in [Principal::default(), Principal::of(data)] {
        if let Some(lease) = LeaseToken::parse(text, &principal) {
            assert_eq!(lease.id().0, text);
        }
    }
    if let Some(ticket) = Ticket::parse(text) {
        assert_eq!(ticket.text(), text);
    }
    if let Some(token) = TokenText::parse(text) {
        assert_eq!(token.reveal(), text);
        assert!(!format!("{token:?}").contains(&text[text.len() - 64..]), "a secret shows");
    }
}
