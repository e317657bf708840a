//! Runs every file of every corpus through its property. The files include all inputs that once broke one.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The time limit for a file, on a slow machine and without optimisation. Inputs that once broke it took minutes.
const LONGEST: Duration = Duration::from_mins(1);

fn each(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("targets/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut count = 0;
    for file in files {
        let path = file.expect("a file").path();
        let data = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let began = Instant::now();
        // A panic alone wouldn't name the file.
        let held = std::panic::catch_unwind(|| run(&data)).is_ok();
        assert!(held, "{} breaks what {target} promises, see above", path.display());
        assert!(began.elapsed() < LONGEST, "{} took {:?}", path.display(), began.elapsed());
        count += 1;
    }
    assert!(count > 0, "{} has no files: the corpus is missing", folder.display());
}

#[test]
fn definitions_are_read_or_their_problems_shown() {
    each("definition", fuzz::definition);
}

#[test]
fn outputs_are_found_however_they_arrive() {
    each("outputs", fuzz::outputs);
}

#[test]
fn a_lease_a_ticket_and_a_token_have_one_text_each() {
    each("lease", fuzz::lease);
}

#[test]
fn every_request_is_answered() {
    each("request", fuzz::request);
}

#[test]
fn deliveries_are_understood_ignored_or_refused() {
    each("delivery", fuzz::delivery);
}

#[test]
fn a_signature_holds_for_what_was_signed_alone() {
    each("signature", fuzz::signature);
}

#[test]
fn patterns_decide_as_a_matcher_that_tries_everything() {
    each("patterns", fuzz::patterns);
}
