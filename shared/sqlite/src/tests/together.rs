//! Which writes share a transaction, and what one that fails takes with it.

use std::sync::Arc;
use std::sync::mpsc;

use engine::ports::{StoreError, Stored};
use futures::channel::oneshot;

use super::examined::commits;
use crate::open;
use crate::recent::Transaction;
use crate::rows::{corrupt, execute, failed};
use crate::writer::{Waiting, Write, Writer};

type Answer = oneshot::Receiver<Stored<()>>;

fn waiting(work: impl FnOnce(&Transaction<'_>) -> Stored<()> + Send + 'static) -> (Box<dyn Write>, Answer) {
    let (asker, answer) = oneshot::channel();
    (Box::new(Waiting { work: Some(work), result: None, asker }), answer)
}

fn insert(db: &Transaction<'_>, key: &str) -> Stored<()> {
    execute(db, "INSERT INTO definitions (run, source) VALUES (?1, '')", [key]).map(drop)
}

/// Runs writes that all wait already; their answers, and what is there then.
fn run(writes: Vec<(Box<dyn Write>, Answer)>) -> (Vec<Stored<()>>, Vec<String>) {
    let mut store = Writer::new(open::in_memory().expect("tables"), Arc::default());
    let (writes, answers): (Vec<_>, Vec<_>) = writes.into_iter().unzip();
    commits();
    store.commit(writes.into_iter());
    let answers = answers.into_iter().map(|mut answer| answer.try_recv().expect("answered").expect("by now"));
    let mut there = store.db.prepare("SELECT run FROM definitions ORDER BY run").expect("a query");
    let there = there.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("texts");
    (answers.collect(), there)
}

#[test]
fn writes_that_wait_share_one_transaction() {
    let writer = Writer::new(open::in_memory().expect("tables"), Arc::default());
    let (queue, receiver) = mpsc::channel();
    let mut answers = Vec::new();
    for n in 0..500 {
        let (write, answer) = waiting(move |db| insert(db, &n.to_string()));
        queue.send(write).expect("it is open");
        answers.push(answer);
    }
    drop(queue);
    commits();
    writer.work(&receiver);
    assert_eq!(commits(), 2, "one for them all, one at the end");
    for mut answer in answers {
        answer.try_recv().expect("answered").expect("by now").expect("written");
    }
}

#[test]
fn a_write_that_fails_leaves_nothing_and_takes_nothing_with_it() {
    let (answers, there) = run(vec![
        waiting(|db| insert(db, "a")),
        waiting(|db| {
            insert(db, "b")?;
            Err(corrupt("half way"))
        }),
        waiting(|db| {
            insert(db, "c")?;
            insert(db, "a")
        }),
        waiting(|db| insert(db, "d")),
    ]);
    assert!(matches!(answers[..], [Ok(()), Err(StoreError::Corrupt(_)), Err(StoreError::Unavailable(_)), Ok(())]));
    assert_eq!(there, ["a", "d"]);
}

#[test]
fn a_transaction_that_is_lost_is_answered_so_to_all_that_were_in_it() {
    let (answers, there) = run(vec![
        waiting(|db| insert(db, "a")),
        // As SQLite does by itself when a disk is full.
        waiting(|db| db.execute_batch("ROLLBACK").map_err(failed).and(Err(corrupt("a full disk")))),
        waiting(|db| insert(db, "c")),
    ]);
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    assert_eq!(there, Vec::<String>::new());
}
