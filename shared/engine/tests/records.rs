//! Tests of records and their changes, without a store.

use std::time::Duration;

use engine::access::{TokenRecord, TokenText};
use engine::ids::{Fence, JobIndex, JobKey, LeaseToken, RunKey};
use engine::job::{JobRecord, LeaseRecord, Phase, Precondition};
use engine::plan::{planned, records};
use engine::ports::NewItem;
use engine::run::{Control, MAX_TIMER_DELAY, Progress, RunState, RunUpdate, Timer};
use protocol::access::Permissions;
use protocol::{JobId, Millis, TokenName, WorkerId, WorkflowId, limits};

fn run() -> RunKey {
    RunKey::new([1; 16])
}

fn control(state: RunState, timer: Timer) -> Control {
    Control {
        run: run(),
        workflow: WorkflowId::new("wf").expect("an id"),
        number: 1,
        jobs: 3,
        state,
        done_below: 1,
        failed: false,
        cancelled: false,
        opened_at: Some(Millis(1)),
        group: None,
        blocked_at: None,
        opener: None,
        report: None,
        superseded: false,
        timer,
    }
}

#[test]
fn job_key_is_shown_as_its_run_and_its_index() {
    assert_eq!(JobKey::new(&run(), 7).to_string(), format!("{}#7", run()));
}

#[test]
fn timer_is_marked_as_firing_only_if_it_is_due() {
    let fires = |timer, by| RunUpdate::Fire { by }.apply(&control(RunState::Open, timer)).is_some();
    let by = Some(Millis(10));
    assert!(fires(Timer::Due(Millis(10)), by) && fires(Timer::Firing, by) && fires(Timer::Due(Millis(11)), None));
    assert!(!fires(Timer::Due(Millis(11)), by) && !fires(Timer::Off, by));
}

#[test]
fn progress_is_stored_only_if_it_advances() {
    let advanced = |done_below| {
        let progress = Progress { done_below, failed: false, cancelled: false };
        RunUpdate::Advance(progress).apply(&control(RunState::Open, Timer::Firing)).is_some()
    };
    assert_eq!([0, 1, 2].map(advanced), [false, false, true]);
}

#[test]
fn control_record_is_stored_and_read_with_any_timer() {
    for timer in [Timer::Off, Timer::Firing, Timer::Due(Millis(9) + MAX_TIMER_DELAY)] {
        let stored = serde_json::to_string(&control(RunState::Open, timer)).expect("JSON");
        let read: Control = serde_json::from_str(&stored).expect("a control record");
        assert_eq!(read.timer, timer);
    }
}

fn fence(random: u8) -> Fence {
    let principal = engine::access::Grant::open().principal;
    LeaseToken::new(JobKey::new(&run(), 0), 0, [random; 16], principal).fence()
}

fn job(phase: Phase) -> JobRecord {
    JobRecord::first(JobKey::new(&run(), 0), JobId::new("a").expect("an id"), phase)
}

fn running(until: u64) -> JobRecord {
    let worker = WorkerId::new("w").expect("an id");
    let lease = LeaseRecord { fence: fence(1), worker, ttl_secs: 30, started_at: Millis(0), until: Millis(until) };
    job(Phase::Running(lease))
}

fn waiting(on: &[JobIndex]) -> JobRecord {
    job(Phase::Waiting { on: on.iter().copied().collect() })
}

#[test]
fn job_waits_only_on_a_need_that_is_the_last_one() {
    let only = |on: &[JobIndex]| Precondition::WaitingOnlyOn(2).holds(&waiting(on));
    assert_eq!([&[2][..], &[3], &[2, 3], &[]].map(only), [true, false, false, false]);
}

#[test]
fn job_may_be_claimed_from_its_start_until_its_queue_timeout() {
    let claimable = |at: u64, until: Option<u64>| {
        let job = job(Phase::Ready { at: Millis(at), until: until.map(Millis) });
        let worker = WorkerId::new("w").expect("an id");
        Precondition::Ready { pool: job.pool.clone(), by: Millis(10), worker }.holds(&job)
    };
    assert_eq!([claimable(10, None), claimable(11, None)], [true, false]);
    assert_eq!([9, 10, 11].map(|until| claimable(0, Some(until))), [false, false, true]);
}

#[test]
fn report_needs_the_fence_of_a_lease_that_has_not_expired() {
    let live = |random, now| Precondition::HeldLive { fence: fence(random), now: Millis(now) }.holds(&running(10));
    assert_eq!([live(1, 9), live(1, 10), live(2, 9)], [true, false, false]);
    let renewed = |now, until| {
        Precondition::HeldLiveUntil { fence: fence(1), now: Millis(now), until: Millis(until) }.holds(&running(10))
    };
    assert_eq!([renewed(9, 10), renewed(10, 20), renewed(9, 9)], [true, false, false]);
    let over =
        |random, until| Precondition::HeldOver { fence: fence(random), until: Millis(until) }.holds(&running(10));
    assert_eq!([over(1, 10), over(1, 11), over(2, 10)], [true, false, false]);
}

#[test]
fn small_specification_is_stored_in_the_jobs_record_and_a_large_one_apart() {
    let stored = |length: usize| {
        let yaml = format!("jobs: {{a: {{run: {}}}}}", "x".repeat(length));
        let items = records(&run(), &planned(&workflow::from_yaml(&yaml).expect("good")), 200, Millis(1));
        let apart = items.iter().any(|item| matches!(item, NewItem::Spec(..)));
        let inside = items.iter().any(|item| matches!(item, NewItem::Job(job) if job.spec.is_some()));
        (inside, apart)
    };
    assert_eq!([stored(1), stored(1000)], [(true, false), (false, true)]);
}

#[test]
fn token_is_admitted_until_it_expires_and_its_debug_output_names_it_alone() {
    let text = TokenText::new(TokenName::new("ci").expect("a name"), [[0xab; 16]; 2]);
    let record = TokenRecord {
        name: TokenName::new("ci").expect("a name"),
        hash: text.hash(),
        permissions: Permissions::all(),
        created_at: Millis(0),
        expires_at: Millis(10),
    };
    assert_eq!([9, 10].map(|now| record.admits(&text, Millis(now))), [true, false]);
    assert_eq!(format!("{text:?} {:?}", record.hash), "TokenText(ci, …) TokenHash(…)");
}

#[test]
fn clock_of_a_test_runs_ahead_by_as_much_as_it_was_advanced() {
    use engine::clock::{Clock, ManualClock};
    let clock = ManualClock::default();
    let before = Millis::now();
    clock.advance(Duration::from_hours(1));
    clock.advance(Duration::from_hours(1));
    let ahead = clock.now().since(before);
    assert!(ahead >= Duration::from_hours(2) && ahead < Duration::from_hours(3), "{ahead:?}");
}

#[test]
fn error_about_a_definition_says_the_first_problem_and_how_many_follow() {
    let problem = |message: &str| workflow::Problem {
        code: "syntax",
        message: message.to_owned(),
        path: String::new(),
        at: None,
    };
    let text = |problems| engine::EngineError::Definition(problems).to_string();
    assert_eq!(text(vec![problem("one")]), "one");
    assert_eq!(text(vec![problem("one"), problem("two"), problem("three")]), "one (and 2 more problems, see details)");
    assert_eq!(text(vec![]), "the definition is not valid");
}

#[test]
fn id_of_a_worker_belongs_to_its_token_for_90_days() {
    assert_eq!(limits::WORKER_KEPT, Duration::from_hours(90 * 24));
}
