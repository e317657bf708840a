//! Checks of log storage.

use std::sync::Arc;
use std::time::Duration;

use engine::ids::JobKey;
use engine::ports::Ports;
use protocol::Millis;
use protocol::requests::LogPiece;
use protocol::wire::Stream;

use crate::fixture::{NOW, fresh_run};

fn piece(sequence: u64, data: &str) -> LogPiece {
    let stream = if sequence.is_multiple_of(2) { Stream::Stdout } else { Stream::Stderr };
    LogPiece { sequence, data: data.to_owned(), timestamp_ms: Millis(NOW.0 + sequence % 1000), stream }
}

fn pieces(sequences: impl IntoIterator<Item = u64>) -> Vec<LogPiece> {
    sequences.into_iter().map(|n| piece(n, &format!("line {n} ä\u{1F980}\u{1b}[0m\r\n"))).collect()
}

async fn append(ports: &impl Ports, job: &JobKey, attempt: u32, pieces: Vec<LogPiece>) {
    let before = ports.size(job, attempt).await.expect("the store answers");
    ports.append(job, attempt, pieces, before).await.expect("the store answers");
}

async fn read(ports: &impl Ports, job: &JobKey, attempt: u32, after: Option<u64>) -> Vec<LogPiece> {
    ports.read(job, attempt, after, 100_000_000).await.expect("the store answers")
}

/// Batches may arrive in any order, repeated and overlapping. Each attempt has its own log.
pub async fn log_is_read_in_order_each_piece_once<P: Ports + 'static>(ports: Arc<P>) {
    let run = fresh_run();
    let (job, other) = (JobKey::new(&run, 1), JobKey::new(&run, 11));
    assert_eq!(read(&*ports, &job, 0, None).await, []);
    append(&*ports, &job, 0, pieces(20..30)).await;
    append(&*ports, &job, 0, pieces(0..10)).await;
    append(&*ports, &job, 0, pieces(20..30)).await;
    append(&*ports, &job, 0, pieces(5..15)).await;
    append(&*ports, &job, 0, pieces([12])).await;
    append(&*ports, &job, 0, Vec::new()).await;
    append(&*ports, &job, 1, pieces(0..3)).await;
    append(&*ports, &job, 10, pieces(50..51)).await;
    append(&*ports, &other, 0, pieces(100..101)).await;
    assert_eq!(read(&*ports, &job, 0, None).await, pieces((0..15).chain(20..30)));
    assert_eq!(read(&*ports, &job, 1, None).await, pieces(0..3));
    assert_eq!(read(&*ports, &job, 10, None).await, pieces(50..51));
    assert_eq!(read(&*ports, &job, 2, None).await, []);
    assert_eq!(read(&*ports, &other, 0, None).await, pieces(100..101));
}

/// The number may be inside a batch, between batches, after all of them, and any number of 64 bits.
pub async fn log_is_read_after_a_sequence_number<P: Ports + 'static>(ports: Arc<P>) {
    let job = JobKey::new(&fresh_run(), 0);
    append(&*ports, &job, 0, pieces(0..10)).await;
    append(&*ports, &job, 0, pieces(10..40)).await;
    append(&*ports, &job, 0, pieces([100, u64::MAX - 1, u64::MAX])).await;
    let all = pieces((0..40).chain([100, u64::MAX - 1, u64::MAX]));
    let afters = [0, 4, 9, 10, 38, 39, 40, 99, 100, 1 << 63, u64::MAX - 2, u64::MAX - 1, u64::MAX];
    for after in afters {
        let expected: Vec<LogPiece> = all.iter().filter(|piece| piece.sequence > after).cloned().collect();
        assert_eq!(read(&*ports, &job, 0, Some(after)).await, expected, "after {after}");
    }
}

/// Pages of about the requested size contain the whole log.
pub async fn read_of_a_log_is_bounded_in_bytes<P: Ports + 'static>(ports: Arc<P>) {
    let job = JobKey::new(&fresh_run(), 0);
    let mut all = Vec::new();
    for batch in 0..12_u64 {
        // Text that compresses badly, in pieces of up to 200 KB.
        let size = if batch == 7 { 200_000 } else { 1_500 };
        let text = |n: u64| -> String {
            let mut state = n + 1;
            let letter = |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from(b'a' + u8::try_from((state >> 40) % 26).unwrap_or(0))
            };
            (0..size).map(letter).collect()
        };
        let pieces: Vec<LogPiece> = (batch * 10..batch * 10 + 10).map(|n| piece(n, &text(n))).collect();
        append(&*ports, &job, 3, pieces.clone()).await;
        all.extend(pieces);
    }
    let first = ports.read(&job, 3, None, 1).await.expect("the store answers");
    assert!(first == all[..1], "a piece however few bytes were asked for");
    for limit in [10_000, 100_000, 5_000_000] {
        let mut seen: Vec<LogPiece> = Vec::new();
        loop {
            let after = seen.last().map(|piece| piece.sequence);
            let page = ports.read(&job, 3, after, limit).await.expect("the store answers");
            let Some(last) = page.last() else { break };
            let size: usize = page.iter().map(|piece| piece.data.len()).sum();
            assert!(size - last.data.len() < limit, "{size} bytes where {limit} were asked for");
            seen.extend(page);
        }
        assert!(seen == all, "pages of {limit} bytes together are not the log");
    }
}

/// The size is 0 for an attempt without a log, and grows at least by the text of each new piece. Each attempt has its own.
pub async fn size_of_a_log_grows_with_its_pieces<P: Ports + 'static>(ports: Arc<P>) {
    let job = JobKey::new(&fresh_run(), 0);
    let size = async |attempt| ports.size(&job, attempt).await.expect("the store answers");
    assert_eq!(size(0).await, 0);
    let text = "x".repeat(1000);
    for sent in 1..=3 {
        append(&*ports, &job, 0, vec![piece(sent, &text)]).await;
        assert!((sent * 1000..sent * 1100).contains(&size(0).await), "{}", size(0).await);
    }
    assert_eq!(size(1).await, 0);
}

/// The latest note of an attempt counts. It isn't a part of the log.
pub async fn reader_of_a_log_is_noted_for_its_attempt<P: Ports + 'static>(ports: Arc<P>) {
    let run = fresh_run();
    let (job, other) = (JobKey::new(&run, 1), JobKey::new(&run, 11));
    let until = async |job: &JobKey, attempt| ports.followed_until(job, attempt).await.expect("the store answers");
    assert_eq!(until(&job, 0).await, None);
    let (first, second) = (Millis::now() + Duration::from_mins(1), Millis::now() + Duration::from_mins(2));
    for at in [first, second] {
        ports.follow(&job, 0, at).await.expect("the store answers");
    }
    assert_eq!([until(&job, 0).await, until(&job, 1).await, until(&other, 0).await], [Some(second), None, None]);
    assert_eq!(read(&*ports, &job, 0, None).await, []);
}
