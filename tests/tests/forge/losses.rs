//! Errors, and answers that are late or lost: in the end the states are right.

use harness::forge::{Fault, Kind};

use crate::linked::Linked;
use crate::runs::{CI, PASSED};

#[tokio::test]
async fn states_are_right_in_the_end_through_errors_and_lost_answers() {
    let linked = Linked::with_token(Kind::Github).await;
    let forge = linked.forge();
    forge.plans("POST", "/statuses/", Fault::Answers(502, Vec::new()), 1);
    forge.plans("POST", "/statuses/", Fault::Lost, 1);
    forge.plans("POST", "/statuses/", Fault::Answers(429, vec![("retry-after", "1".to_owned())]), 1);
    forge.plans("GET", "/git/ref/", Fault::Answers(502, Vec::new()), 1);
    let commit = linked.pushes_ci(CI).await;
    // After a request without an answer its reporter keeps the lease for a minute.
    linked.until_shows_in_the_end(&commit, &PASSED).await;
    assert_eq!(linked.runs().await.len(), 1);
}
