//! The handler of the health check.

use engine::ports::Ports;
use engine::{Engine, EngineError};
use http::StatusCode;
use protocol::wire::Health;

use crate::error::ApiError;
use crate::request::Input;
use crate::response::{Answer, json_answer};

pub(crate) async fn health<P: Ports>(engine: &Engine<P>, _: &Input<'_>) -> Answer {
    engine.queries().check_writable().await.map_err(not_writable)?;
    let (status, version) = ("ok".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    json_answer(StatusCode::OK, &Health { status, version })
}

/// The error of a store that can't be written. Callers of this route have no token, so the message doesn't contain the path of the
/// store's file, unlike the server's log.
fn not_writable(error: EngineError) -> ApiError {
    ApiError { message: "the store can't be written; the server's log says why".to_owned(), ..error.into() }
}

#[cfg(test)]
mod tests {
    use engine::ports::StoreError;

    use super::*;

    #[test]
    fn full_disk_is_reported_without_its_path() {
        let error = not_writable(StoreError::DiskFull("/data/wfg.db".to_owned()).into());
        assert_eq!((error.status.as_u16(), error.code), (503, "storage_full"));
        assert!(!error.message.contains("/data"), "{}", error.message);
    }
}
