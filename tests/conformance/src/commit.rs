//! Checks of the transaction that commits a submission or a re-run.

use std::sync::Arc;

use engine::ids::{ReportHash, RunKey};
use engine::ports::{Commit, Committed, Idempotency, NewItem, Ports};
use engine::run::{Control, RunEnd, RunState, WorkflowRecord};
use protocol::wire::InputValues;
use protocol::{Millis, Status};

use crate::fixture::{
    NOW, commit_new, control_now, control_of, fresh_run, name, new_workflow, secs, source, workflow_now,
};

fn key_of(workflow: &WorkflowRecord, expires: Millis) -> Idempotency {
    // A store may keep whole seconds.
    let expires = Millis(expires.secs() * 1000);
    Idempotency { key: name("key ü"), body: ReportHash::of(["a body"]), workflow: workflow.id.clone(), expires }
}

/// A workflow that is submitted now.
fn submitted() -> (WorkflowRecord, Control) {
    let (mut workflow, control) = new_workflow(RunState::New);
    workflow.created_at = Millis::now();
    (workflow, control)
}

/// After a commit, its workflow, control and key are read as given.
pub async fn commit_writes_workflow_control_and_key<P: Ports + 'static>(ports: Arc<P>) {
    let (workflow, control) = submitted();
    let kept = key_of(&workflow, Millis::now() + secs(3600));
    assert_eq!(workflow_now(&*ports, &workflow.id).await, None);
    assert_eq!(control_now(&*ports, &control.run).await, None);
    assert_eq!(ports.idempotency(&kept.key, Millis::now()).await.expect("the store answers"), None);
    let commit = Commit {
        workflow: workflow.clone(),
        replaces: None,
        control: control.clone(),
        idempotency: Some(kept.clone()),
    };
    assert_eq!(ports.commit(commit).await.expect("the store answers"), Committed::Yes);
    assert_eq!(workflow_now(&*ports, &workflow.id).await, Some(workflow));
    assert_eq!(control_now(&*ports, &control.run).await, Some(control));
    assert_eq!(ports.idempotency(&kept.key, Millis::now()).await.expect("the store answers"), Some(kept));
}

/// Neither the workflow nor its control exists, and the stored answer of the key stays.
pub async fn commit_with_a_used_key_changes_nothing<P: Ports + 'static>(ports: Arc<P>) {
    let (first, control) = submitted();
    let kept = key_of(&first, Millis::now() + secs(3600));
    let commit = Commit { workflow: first, replaces: None, control, idempotency: Some(kept.clone()) };
    assert_eq!(ports.commit(commit).await.expect("the store answers"), Committed::Yes);
    let (second, control) = submitted();
    let again = Idempotency { workflow: second.id.clone(), body: ReportHash::of(["another body"]), ..kept.clone() };
    let commit =
        Commit { workflow: second.clone(), replaces: None, control: control.clone(), idempotency: Some(again) };
    assert_eq!(ports.commit(commit).await.expect("the store answers"), Committed::KeyTaken);
    assert_eq!(workflow_now(&*ports, &second.id).await, None);
    assert_eq!(control_now(&*ports, &control.run).await, None);
    assert_eq!(ports.idempotency(&kept.key, Millis::now()).await.expect("the store answers"), Some(kept));
}

/// An expired key is not found and can be used again.
pub async fn expired_key_counts_as_absent<P: Ports + 'static>(ports: Arc<P>) {
    let (first, control) = submitted();
    let kept = key_of(&first, Millis::now() - secs(3600));
    let commit = Commit { workflow: first, replaces: None, control, idempotency: Some(kept.clone()) };
    assert_eq!(ports.commit(commit).await.expect("the store answers"), Committed::Yes);
    assert_eq!(ports.idempotency(&kept.key, Millis::now()).await.expect("the store answers"), None);

    let (second, control) = submitted();
    let again =
        Idempotency { workflow: second.id.clone(), expires: key_of(&second, Millis::now() + secs(60)).expires, ..kept };
    let commit = Commit { workflow: second.clone(), replaces: None, control, idempotency: Some(again.clone()) };
    assert_eq!(ports.commit(commit).await.expect("the store answers"), Committed::Yes);
    assert!(workflow_now(&*ports, &second.id).await.is_some());
    let found = ports.idempotency(&again.key, Millis::now()).await.expect("the store answers");
    assert_eq!(found.as_ref(), Some(&again));
    let later = ports.idempotency(&again.key, Millis::now() + secs(61)).await.expect("the store answers");
    assert_eq!(later, None, "asked for a time after its end");
}

/// `replaces` must name the current run, which must have ended. A workflow is created only if it doesn't exist.
pub async fn only_the_current_run_is_replaced_after_it_has_ended<P: Ports + 'static>(ports: Arc<P>) {
    let (workflow, control) = submitted();
    let next = |from: &WorkflowRecord| WorkflowRecord {
        run: fresh_run(),
        number: from.number + 1,
        ended: None,
        ..from.clone()
    };
    let commit = async |workflow: &WorkflowRecord, replaces: Option<&WorkflowRecord>, kept: &Idempotency| {
        let control = control_of(workflow, RunState::New);
        let answer = ports.commit(Commit {
            workflow: workflow.clone(),
            replaces: replaces.map(|old| old.run.clone()),
            control: control.clone(),
            idempotency: Some(kept.clone()),
        });
        let answer = answer.await.expect("the store answers");
        let real = answer == Committed::Yes;
        assert_eq!(control_now(&*ports, &control.run).await, real.then_some(control));
        let found = ports.idempotency(&kept.key, Millis::now()).await.expect("the store answers");
        assert_eq!(found.as_ref(), real.then_some(kept));
        answer
    };
    let kept = |workflow| key_of(workflow, Millis::now() + secs(3600));

    let second = next(&workflow);
    assert_eq!(
        commit(&second, Some(&workflow), &kept(&second)).await,
        Committed::Superseded,
        "there is none to replace"
    );
    assert_eq!(workflow_now(&*ports, &workflow.id).await, None);
    commit_new(&*ports, &workflow, &control).await;
    assert_eq!(commit(&second, Some(&workflow), &kept(&second)).await, Committed::Superseded, "it hasn't ended");
    assert_eq!(commit(&second, None, &kept(&second)).await, Committed::Superseded, "there is one already");
    assert_eq!(workflow_now(&*ports, &workflow.id).await.as_ref(), Some(&workflow));

    let end = RunEnd { status: Status::Success, at: NOW, jobs: 1, started_at: None };
    assert!(ports.end_workflow(&workflow.id, &workflow.run, end).await.expect("the store answers"));
    assert_eq!(commit(&second, Some(&workflow), &kept(&second)).await, Committed::Yes);
    assert_eq!(workflow_now(&*ports, &workflow.id).await.as_ref(), Some(&second));

    let third = next(&second);
    assert_eq!(
        commit(&third, Some(&workflow), &kept(&third)).await,
        Committed::Superseded,
        "it isn't current any more"
    );
    assert_eq!(workflow_now(&*ports, &workflow.id).await.as_ref(), Some(&second));
}

/// The end is set once, and only if the caller names the current run.
pub async fn workflow_ends_once_and_only_in_its_current_run<P: Ports + 'static>(ports: Arc<P>) {
    let (workflow, control) = submitted();
    let end = |status| RunEnd { status, at: NOW + secs(7), jobs: 1, started_at: None };
    let ends = async |run: &RunKey, status: Status| {
        ports.end_workflow(&workflow.id, run, end(status)).await.expect("the store answers")
    };
    assert!(!ends(&workflow.run, Status::Success).await, "it isn't there");
    assert_eq!(workflow_now(&*ports, &workflow.id).await, None);
    commit_new(&*ports, &workflow, &control).await;
    assert!(!ends(&fresh_run(), Status::Success).await, "another run");
    assert_eq!(workflow_now(&*ports, &workflow.id).await.as_ref(), Some(&workflow));
    assert!(ends(&workflow.run, Status::Cancelled).await);
    assert!(!ends(&workflow.run, Status::Success).await, "it has ended");
    let ended = WorkflowRecord { ended: Some(end(Status::Cancelled)), ..workflow.clone() };
    assert_eq!(workflow_now(&*ports, &workflow.id).await, Some(ended));
}

/// The values of inputs are those of their own run, byte for byte.
pub async fn inputs_are_read_as_given<P: Ports + 'static>(ports: Arc<P>) {
    let (run, other) = (fresh_run(), fresh_run());
    let large = "x".repeat(protocol::limits::INPUTS_SIZE);
    let texts = [("a", ""), ("b", "\"; $(id) \\ \u{1f980}\n"), ("c", large.as_str())];
    let values: InputValues = texts.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    ports.put_new(vec![NewItem::Inputs(run.clone(), values.clone())]).await.expect("the store answers");
    assert_eq!(ports.inputs(&run).await.expect("the store answers"), Some(values));
    assert_eq!(ports.inputs(&other).await.expect("the store answers"), None);
}

/// Definitions that are small, large, compressible or incompressible. Each is read only for its own run.
pub async fn definition_is_read_as_submitted<P: Ports + 'static>(ports: Arc<P>) {
    let noise = |bytes: usize| -> String {
        std::iter::repeat_with(|| hex::encode(engine::ids::random())).take(bytes / 32).collect::<Vec<_>>().join("\n")
    };
    let texts = ["jobs: {}\n".to_owned(), "# jöbs\n".repeat(130_000), noise(30_000), noise(900_000)];
    for text in texts {
        let (run, other) = (fresh_run(), fresh_run());
        let source = source(&text);
        ports.put_new(vec![NewItem::Definition(run.clone(), source.clone())]).await.expect("the store answers");
        let found = ports.definition(&run).await.expect("the store answers");
        assert!(found == Some(source), "a definition of {} bytes changed", text.len());
        assert_eq!(ports.definition(&other).await.expect("the store answers"), None);
    }
}
