//! Checks of outputs that are too large for a job's record.

use std::sync::Arc;

use engine::ids::JobKey;
use engine::job::{OutputsRef, json_size};
use engine::ports::{Consistency, Ports, StoreError};
use protocol::Outputs;

use crate::fixture::{fresh_run, name, outputs_of};

/// The sizes of a value in bytes.
const SIZES: [usize; 4] = [100, 70_000, 900_000, 1_040_000];

fn sized(bytes: usize) -> Outputs {
    // Quotes, line ends and other characters that a store may encode in several bytes.
    let value: String = "ä\"\n\\\u{1F980}\r\t%25 "
        .chars()
        .cycle()
        .scan(0, |size, c| {
            *size += c.len_utf8();
            (*size <= bytes).then_some(c)
        })
        .collect();
    outputs_of(&[("value", &value), ("empty", "")])
}

async fn read(ports: &impl Ports, job: &JobKey, id: &str, size: usize) -> Option<Outputs> {
    ports.outputs(job, id, size, Consistency::Strong).await.expect("the store answers")
}

/// Outputs from one line up to the limit of a job, each under its own job and id.
pub async fn outputs_of_any_size_are_read_byte_for_byte<P: Ports + 'static>(ports: Arc<P>) {
    let run = fresh_run();
    for (index, bytes) in (0..).zip(SIZES) {
        let job = JobKey::new(&run, index);
        let (outputs, id) = (sized(bytes), name("id"));
        let size = json_size(&outputs);
        assert_eq!(read(&*ports, &job, &id, size).await, None, "before it was written");
        ports.put_outputs(&job, &id, &outputs).await.expect("the store answers");
        assert!(read(&*ports, &job, &id, size).await.as_ref() == Some(&outputs), "{bytes} bytes came back otherwise");
        assert_eq!(read(&*ports, &job, &name("id"), size).await, None, "another id");
        assert_eq!(read(&*ports, &JobKey::new(&run, 99), &id, size).await, None, "another job");
    }
}

/// A copy of a re-run exists on its own.
pub async fn copied_outputs_outlive_their_first_run<P: Ports + 'static>(ports: Arc<P>) {
    let (old, new) = (fresh_run(), fresh_run());
    for bytes in SIZES {
        let (from, to) = (JobKey::new(&old, 4), JobKey::new(&new, 2));
        let (outputs, id) = (sized(bytes), name("id"));
        let size = json_size(&outputs);
        ports.put_outputs(&from, &id, &outputs).await.expect("the store answers");
        let kept = OutputsRef::External { id: id.clone(), size };
        for _ in 0..2 {
            ports.copy_outputs(&from, &to, &kept).await.expect("the store answers");
        }
        while ports.delete_some(&old, 5).await.expect("the store answers") {}
        assert_eq!(read(&*ports, &from, &id, size).await, None, "{bytes} bytes of a deleted run");
        assert!(read(&*ports, &to, &id, size).await == Some(outputs), "{bytes} bytes came back otherwise");
    }
    for bytes in SIZES {
        let (from, to) = (JobKey::new(&old, 4), JobKey::new(&new, 3));
        let (id, size) = (name("id"), json_size(&sized(bytes)));
        let missing = OutputsRef::External { id: id.clone(), size };
        let refused = ports.copy_outputs(&from, &to, &missing).await;
        assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{bytes} bytes that aren't there: {refused:?}");
        assert_eq!(read(&*ports, &to, &id, size).await, None);
    }
    let inline = OutputsRef::Inline(sized(100));
    let (from, to) = (JobKey::new(&old, 4), JobKey::new(&new, 2));
    ports.copy_outputs(&from, &to, &inline).await.expect("what is in the record needs no copy");
}
