//! Deliveries of Gitea and Forgejo.

use engine::forge::event::Parsed;

use super::common::{pull_request, push};
use super::{BadPayload, not_understood};

pub(super) fn parse(id: String, event: &str, body: &[u8]) -> Result<Parsed, BadPayload> {
    match event {
        "push" => push(id, event, body),
        "pull_request" | "pull_request_sync" => pull_request(id, event, body),
        other => not_understood(other),
    }
}
