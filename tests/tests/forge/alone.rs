//! Tests with a server of their own in this process: they move its clock, or end it. No emulator can do either.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::eventually;
use harness::forge::{Fault, Kind, Request};

use crate::linked::Linked;
use crate::project::{KINDS, REPOSITORY};
use crate::runs::{CI, PASSED};

/// A reporter's lease, and a little more.
const LEASE_ENDS: Duration = Duration::from_secs(61);
/// States sent to a forge in a minute.
const WRITES: usize = 60;
/// Requests that may be on their way when a minute ends.
const ON_THEIR_WAY: usize = 4;

#[tokio::test]
async fn request_that_lands_after_its_time_out_is_followed_by_the_runs_last_state() {
    let mut linked = Linked::alone(Kind::Github).await;
    let late = Fault::LandsLater(Duration::from_secs(2));
    linked.forge().plans_for("POST", "/statuses/", "ci (push)", late, 1);
    linked.stops_worker();
    let commit = linked.pushes_ci(CI).await;
    eventually("the first state is sent", async || linked.forge().met_all_faults().then_some(())).await;
    linked.starts_worker();
    linked.until_ended(1).await;
    let landed = || linked.forge().shows(REPOSITORY, &commit).contains_key("ci (push)");
    eventually("the request lands", async || landed().then_some(())).await;
    // Nothing newer was sent meanwhile, so nothing older can follow it.
    assert_eq!(linked.forge().shows(REPOSITORY, &commit)["ci (push)"], "pending");
    linked.advance(LEASE_ENDS).await;
    linked.until_shows(&commit, &PASSED).await;
}

#[tokio::test]
async fn what_a_killed_reporter_may_have_sent_is_not_trusted() {
    let mut linked = Linked::alone_with_app().await;
    let failed = [("ci (push)", "failure"), ("ci / test (push)", "failure")];
    let commit = linked.pushes_ci(&CI.replace("true", "exit 1")).await;
    linked.until_shows(&commit, &failed).await;
    linked.stops_worker();
    linked.forge().plans_for("PATCH", "/check-runs/", "queued", Fault::AnswersLate(Duration::from_mins(5)), 1);
    linked.forge().reruns_all(REPOSITORY, &commit, "ada");
    let shows = || linked.forge().shows(REPOSITORY, &commit)["ci / test (push)"].clone();
    eventually("the request is carried out", async || (shows() == "queued").then_some(())).await;
    // Nobody noted that. What was noted before, a failure, is what the run comes to again.
    linked.restarts().await;
    linked.starts_worker();
    eventually("the job has failed again", async || {
        let run = linked.runs().await.remove(0);
        (run.run == 2 && run.status.is_final()).then_some(())
    })
    .await;
    linked.advance(LEASE_ENDS).await;
    linked.until_shows(&commit, &failed).await;
}

#[tokio::test]
async fn body_that_is_replayed_a_month_later_starts_nothing() {
    for kind in KINDS {
        let linked = Linked::alone(kind).await;
        let forge = linked.forge();
        for n in 0..2 {
            let commit = linked.pushes_ci(&CI.replace("'true'", &format!("'exit 0; {n}'"))).await;
            linked.until_shows(&commit, &PASSED).await;
        }
        let sent = forge.deliveries();
        linked.advance(Duration::from_hours(30 * 24)).await;
        // As it was: GitLab's signature has the time in it.
        forge.redelivers(sent[0].id, false);
        if kind == Kind::Gitlab {
            eventually("the answer", async || forge.deliveries().pop().filter(|one| one.status == 401)).await;
        }
        for one in &sent {
            forge.redelivers(one.id, true);
        }
        let came = if kind == Kind::Gitlab { 2 } else { 3 };
        let repeats =
            async || linked.states().await.iter().filter(|state| ["repeat", "late"].contains(&&***state)).count();
        eventually("they are handled", async || (repeats().await == came).then_some(())).await;
        assert_eq!(linked.runs().await.len(), 2, "{kind:?}");
    }
}

#[tokio::test]
async fn job_that_waited_for_90_minutes_checks_out_with_a_fresh_credential() {
    let mut linked = Linked::alone_with_app().await;
    let file = "on: push\njobs:\n  test: {labels: '{label}', checkout: true, run: 'cat a'}\n";
    let first = linked.pushes(&[(".wfg/ci.yml", file), ("a", "1")], "one").await;
    linked.until_shows(&first, &PASSED).await;
    linked.stops_worker();
    let second = linked.pushes(&[("a", "2")], "two").await;
    linked.until_shows(&second, &[("ci (push)", "in_progress"), ("ci / test (push)", "queued")]).await;
    // Everything that was minted so far ends within an hour, and the repository is private.
    linked.advance(Duration::from_mins(90)).await;
    linked.starts_worker();
    linked.until_shows(&second, &PASSED).await;
    let run = linked.cloud.run(linked.runs().await.remove(0).id);
    assert_eq!(run.job("test").await.attempt, 0);
}

/// The states that a commit shows in the end, of files with 21 jobs each.
fn all_passed(files: &[&str]) -> BTreeMap<String, String> {
    let names = files.iter().flat_map(|file| {
        let jobs = (0..21).map(move |n| format!("{file} / j{n} (push)"));
        jobs.chain([format!("{file} (push)")])
    });
    names.map(|name| (name, "success".to_owned())).collect()
}

/// The requests that told a state, by the minute in which they came.
fn by_minute(requests: &[Request]) -> BTreeMap<u64, usize> {
    let mut minutes = BTreeMap::new();
    for request in requests.iter().filter(|request| request.method == "POST" && request.path.contains("/statuses/")) {
        *minutes.entry(request.at.0 / 60_000).or_default() += 1;
    }
    minutes
}

#[tokio::test]
async fn limits_of_the_forge_are_kept_all_states_are_right_in_the_end_and_other_links_go_on() {
    let linked = Linked::alone(Kind::Github).await;
    let other = linked.another(Kind::Gitea).await;
    let forge = linked.forge();
    let jobs: String = (0..21).map(|n| format!("  j{n}: {{labels: '{{label}}', run: 'true'}}\n")).collect();
    let file = format!("on: push\njobs:\n{jobs}");
    let reset = (forge.now().0 / 1000 + 600).to_string();
    let limit = |name, value: &str| (name, value.to_owned());
    forge.plans("POST", "/statuses/", Fault::Answers(429, vec![limit("retry-after", "30")]), 1);
    let commit = linked.pushes(&[(".wfg/a.yml", &file), (".wfg/b.yml", &file), (".wfg/c.yml", &file)], "one").await;
    linked.until_ended(3).await;
    // The first link's forge takes nothing for 30 s of a clock that nobody moves.
    let of_other = other.pushes_ci(CI).await;
    other.until_shows(&of_other, &PASSED).await;
    let hour_is_over = vec![
        limit("x-ratelimit-limit", "5000"),
        limit("x-ratelimit-remaining", "0"),
        limit("x-ratelimit-reset", &reset),
    ];
    forge.plans("POST", "/statuses/", Fault::Answers(403, hour_is_over), 1);
    let wanted = all_passed(&["a", "b", "c"]);
    eventually("all 66 states are right", async || {
        linked.advance(Duration::from_secs(10)).await;
        (forge.shows(REPOSITORY, &commit) == wanted).then_some(())
    })
    .await;
    assert!(forge.met_all_faults());
    let minutes = by_minute(&forge.requests());
    println!("requests by minute: {minutes:?}");
    assert!(minutes.values().all(|&writes| writes <= WRITES + ON_THEIR_WAY), "{minutes:?}");
    forge.keeps_the_contract();
}

#[tokio::test]
async fn forty_pushes_each_show_their_last_state_within_the_limit() {
    let linked = Linked::alone(Kind::Github).await;
    let forge = linked.forge();
    linked.pushes(&[(".wfg/ci.yml", &CI.replace("[main]", "['x*']"))], "base").await;
    let mut commits = Vec::new();
    for n in 0..40 {
        commits.push(linked.commits(&[("a", &n.to_string())], "a commit").await);
        linked.copy().push(&[&format!("HEAD:refs/heads/x{n}")]).await;
    }
    linked.until_ended(40).await;
    let passed: BTreeMap<String, String> =
        PASSED.into_iter().map(|(name, state)| (name.to_owned(), state.to_owned())).collect();
    eventually("all 80 states are right", async || {
        linked.advance(Duration::from_secs(10)).await;
        commits.iter().all(|commit| forge.shows(REPOSITORY, commit) == passed).then_some(())
    })
    .await;
    let minutes = by_minute(&forge.requests());
    println!("requests by minute: {minutes:?}");
    assert!(minutes.values().all(|&writes| writes <= WRITES + ON_THEIR_WAY), "{minutes:?}");
}
