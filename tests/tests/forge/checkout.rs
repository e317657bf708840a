//! Checkouts from end to end: a private repository, and the project's worker and the examples in Python and Node. What the checkout's
//! script does in other cases is in `fetch`.

use harness::Program;
use harness::forge::{Fault, Kind};

use crate::linked::Linked;
use crate::runs::PASSED;

/// Shows where the credential is when the script runs: nowhere. `{token}` is a pattern that finds it.
const FILE: &str = r#"on: push
jobs:
  test:
    labels: '{label}'
    checkout: true
    env: {GIT_TRACE_CURL: "1", GIT_TRACE_REDACT: "0"}
    shell: sh
    run: |
      unset GIT_TRACE_CURL
      echo "::set-output text=$(cat a)"
      echo "::set-output ref=$INPUT_REF"
      echo "::set-output folder=$(test "$PWD" -ef "$JOB_DIR/src" && echo src)"
      found=$(env | grep -c '{token}')$(grep -c '{token}' .git/config)$(tr '\0' '\n' </proc/$$/environ | grep -c '{token}') || true
      found=$found$(tr '\0' '\n' </proc/$PPID/environ 2>/dev/null | grep -c '{token}')$(tr '\0' '\n' </proc/$$/cmdline | grep -c '{token}') || true
      echo "::set-output found=$found"
"#;
/// Credentials that the forge mints, and its token.
const MINTED: &str = "ghs_m[i]nted";
const TOKEN: &str = "forge-t[o]ken";

/// Pushes a branch with the file, and checks what its job saw.
async fn checks_out(linked: &Linked, token: &str) {
    let file = FILE.replace("{token}", token);
    let commit = linked.commits(&[(".wfg/ci.yml", &file), ("a", "of the commit")], "a commit").await;
    linked.copy().push(&["HEAD:refs/heads/x$(id)"]).await;
    linked.until_shows(&commit, &PASSED).await;
    let run = linked.cloud.run(linked.runs().await.remove(0).id);
    let log = run.log("test", "stdout").await + &run.log("test", "stderr").await;
    let expected = serde_json::json!({ "text": "of the commit", "ref": "x$(id)", "folder": "src", "found": "00000" });
    assert_eq!(serde_json::json!(run.outputs("test").await), expected, "{log}");
    assert_eq!(run.job("test").await.attempt, 0, "a failed minting uses no try");
    assert!(log.contains("--- checkout of") && !log.contains("http.c"), "{log}");
    assert!(!log.contains(&token.replace(['[', ']'], "")), "{log}");
}

/// The credential can't be minted twice; then it can.
fn fails_twice(linked: &Linked) {
    linked.forge().plans_for("POST", "/access_tokens", "contents", Fault::Answers(502, Vec::new()), 2);
}

async fn by_example(program: &str, file: &str) {
    let mut linked = Linked::with_app().await;
    linked.stops_worker();
    fails_twice(&linked);
    let file = format!("{}/../examples/workers/{file}", env!("CARGO_MANIFEST_DIR"));
    let _worker =
        Program::starts(&linked.cloud, &[program, &file], "{label}", "Install it, or run `cargo xtask test`.");
    checks_out(&linked, MINTED).await;
    assert!(linked.forge().met_all_faults());
}

#[tokio::test]
async fn private_commit_is_checked_out_by_the_worker_and_the_script_finds_no_credential() {
    let linked = Linked::with_app().await;
    fails_twice(&linked);
    checks_out(&linked, MINTED).await;
    assert!(linked.forge().met_all_faults());
}

#[tokio::test]
async fn private_commit_is_checked_out_with_the_links_token_from_each_forge() {
    for kind in [Kind::Gitlab, Kind::Gitea] {
        checks_out(&Linked::with_token(kind).await, TOKEN).await;
    }
}

#[tokio::test]
async fn private_commit_is_checked_out_by_a_worker_in_python_and_the_script_finds_no_credential() {
    by_example("python3", "worker.py").await;
}

#[tokio::test]
async fn private_commit_is_checked_out_by_a_worker_in_node_and_the_script_finds_no_credential() {
    by_example("node", "worker.mjs").await;
}
