//! Whatever goes wrong with one call to AWS, every promise holds.
//!
//! Runs where `ports` does, see the first lines of shared/aws/tests/ports.rs. By default each call meets one kind of
//! fault, in turn, and every third update meets a transaction. Each call of a push is tried twice: once it isn't sent, once its answer is lost. `WFG_FAULTS=all` gives every call
//! every kind, `Down` one kind everywhere, `Down:17` one fault.

mod counts;
mod course;
#[path = "../../../engine/tests/forges/fake.rs"]
mod fake;
mod feed;
mod layer;
#[path = "../own/mod.rs"]
mod own;
mod push;
mod script;
mod worker;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws::Aws;
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use futures::future::LocalBoxFuture;
use futures::stream;
use futures::{FutureExt, StreamExt};

use course::Report;
use layer::{Fault, Kind, Seen};

/// What holds, or why a promise doesn't.
type Found<T> = Result<T, String>;

/// Courses at once.
const LANES: usize = 16;

/// What a course took.
#[derive(Debug, Default)]
pub struct Tally {
    repeated: AtomicUsize,
    swept: AtomicUsize,
    late: Mutex<Vec<String>>,
}

impl Tally {
    /// Nothing was repeated or looked for, nor swept, unless that may be.
    fn is_quiet(&self, may_be_swept: bool) -> bool {
        let late = self.late.lock().expect("nobody panicked");
        let swept = if may_be_swept { 0 } else { self.swept.load(Ordering::Relaxed) };
        self.repeated.load(Ordering::Relaxed) + swept + late.len() == 0
    }

    /// A request, change event or message had to be repeated.
    fn repeated(&self) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
    }

    /// Only the sweep went on with it.
    fn swept(&self) {
        self.swept.fetch_add(1, Ordering::Relaxed);
    }

    /// Only the look that every run gets in the end went on with it.
    fn looked_late(&self, what: String) {
        self.late.lock().expect("nobody panicked").push(what);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_with_one_call_every_promise_holds() {
    let Some(sum) = every_fault(of_course, Share::InTurn).await else {
        return;
    };
    assert!(sum.findings.is_empty(), "{}", sum.findings.join("\n"));
    assert!(sum.late.is_empty(), "with one fault, no lease is left to the look after a quarter of an hour");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_with_one_call_a_push_is_run_once_and_its_states_are_told() {
    // As if the function was killed before each call, and after it.
    let Some(sum) = every_fault(of_push, Share::Each(&[Kind::Down, Kind::Silent])).await else {
        return;
    };
    assert!(sum.findings.is_empty(), "{}", sum.findings.join("\n"));
}

fn of_course(settings: SdkConfig, http: SharedHttpClient, fault: Option<Fault>) -> LocalBoxFuture<'static, Report> {
    let course = async move { course::run(&settings, &http, fault).await };
    tokio::spawn(course).map(|report| report.expect("it doesn't panic")).boxed_local()
}

fn of_push(settings: SdkConfig, http: SharedHttpClient, fault: Option<Fault>) -> LocalBoxFuture<'static, Report> {
    async move { push::run(&settings, &http, fault).await }.boxed_local()
}

/// A course with one fault or none.
type Course = fn(SdkConfig, SharedHttpClient, Option<Fault>) -> LocalBoxFuture<'static, Report>;

/// The faults that are tried unless `WFG_FAULTS` asks for others.
enum Share {
    /// One kind at each call, in turn.
    InTurn,
    /// Each of these kinds at each call.
    Each(&'static [Kind]),
}

/// Runs a course without a fault, and then with each fault of a share. `None`: there is nothing to run on.
async fn every_fault(run: Course, share: Share) -> Option<Sum> {
    if std::env::var_os("WFG_TEST_AWS").is_none() {
        eprintln!("skipped: WFG_TEST_AWS isn't set; the first lines of shared/aws/tests/ports.rs say how to run it");
        return None;
    }
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    // Tries as usual, but sooner.
    let retries = RetryConfig::standard().with_max_attempts(5).with_initial_backoff(Duration::from_millis(10));
    let settings = Aws::settings().retry_config(retries).http_client(http.clone()).load().await;

    let began = Instant::now();
    let quiet = run(settings.clone(), http.clone(), None).await;
    println!("undisturbed: {}", quiet.seen);
    assert_eq!(quiet.finding, None, "without any fault");

    let faults = faults(&quiet.seen, &share);
    let number = faults.len();
    let courses = stream::iter(faults).map(|fault| {
        let (settings, http) = (settings.clone(), http.clone());
        async move { (fault, run(settings, http, Some(fault)).await) }
    });
    let mut courses = courses.buffer_unordered(LANES);
    let mut sum = Sum::default();
    while let Some((fault, report)) = courses.next().await {
        sum.add(fault, report);
    }
    println!("{number} courses in {:.1} s: {sum}", began.elapsed().as_secs_f32());
    Some(sum)
}

/// The faults that `WFG_FAULTS` asks for, or the share of them.
fn faults(quiet: &Seen, share: &Share) -> Vec<Fault> {
    let of = |kind: Kind, calls: usize| (1..=calls).map(move |at| Fault { at, kind });
    let each = |kind: Kind| {
        let calls = match kind {
            Kind::LeftOver => quiet.batches,
            Kind::Conflict => quiet.updates,
            _ => quiet.calls.len(),
        };
        of(kind, calls)
    };
    let all = Kind::ALL.into_iter().flat_map(each);
    match std::env::var("WFG_FAULTS") {
        Ok(word) if word == "all" => all.collect(),
        Ok(word) => {
            let (kind, at) = word.split_once(':').unwrap_or((&word, ""));
            let wanted =
                |fault: &Fault| format!("{:?}", fault.kind) == kind && (at.is_empty() || at.parse() == Ok(fault.at));
            all.filter(wanted).collect()
        }
        Err(_) => all.filter(|fault| share.has(fault)).collect(),
    }
}

impl Share {
    fn has(&self, fault: &Fault) -> bool {
        match (self, fault.kind) {
            (Self::Each(kinds), kind) => kinds.contains(&kind),
            (Self::InTurn, Kind::LeftOver) => true,
            (Self::InTurn, Kind::Conflict) => fault.at.is_multiple_of(3),
            (Self::InTurn, kind) => {
                let others = [Kind::LeftOver, Kind::Conflict];
                let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| !others.contains(kind)).collect();
                kind == kinds[fault.at % kinds.len()]
            }
        }
    }
}

/// What all courses came to.
#[derive(Default)]
struct Sum {
    calls: usize,
    retries: usize,
    repeated: usize,
    swept: usize,
    missed: usize,
    late: Vec<String>,
    findings: Vec<String>,
}

impl Sum {
    fn add(&mut self, fault: Fault, report: Report) {
        let Report { seen, tally, finding } = report;
        self.calls += seen.calls.len();
        self.retries += seen.retries;
        self.repeated += tally.repeated.into_inner();
        self.swept += usize::from(tally.swept.into_inner() > 0);
        self.missed += usize::from(seen.hit.is_none());
        let place = format!("{fault}, {}", seen.hit.unwrap_or_else(|| "not reached".to_owned()));
        let late = tally.late.into_inner().expect("nobody panicked");
        self.late.extend(late.first().map(|what| format!("{place}: {what}")));
        if let Some(finding) = finding {
            println!("{place}: {finding}");
            self.findings.push(format!("{place}: {finding}"));
        }
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{} calls, {} tried again by the library, {} requests, events and messages repeated, {} courses swept, {} \
             faults not reached; {} courses went on only with the look after a quarter of an hour:",
            self.calls,
            self.retries,
            self.repeated,
            self.swept,
            self.missed,
            self.late.len()
        )?;
        self.late.iter().try_for_each(|late| writeln!(f, "  {late}"))
    }
}
