//! `wfg output`, in a job and out of one.

use crate::common::process::WorkerProcess;
use crate::common::{World, finish, wfg};

#[tokio::test]
async fn a_job_reads_what_it_needs_byte_for_byte() {
    // The last value ends with an empty line, which `$(…)` would drop.
    let definition = r#"
jobs:
  build:
    run: |
      echo "::set-output version=1.2.3"
      printf 'notes<<END\none "two" '"'three'"' 100%% = 🦀\n\n\nEND\n' > "$WORKFLOW_OUTPUT"
  deploy:
    needs: build
    env: {EXPECTED: {from: build.notes}}
    run: |
      test "$("$WFG" output build version)" = 1.2.3
      printf %s "$EXPECTED" > expected
      "$WFG" output build notes > notes
      cmp expected notes
      { echo 'again<<EOF'; cat notes; echo; echo EOF; } > "$WORKFLOW_OUTPUT"
  look:
    needs: deploy
    run: |
      "$WFG" output deploy again > again
      cmp notes again
"#;
    let world = World::with("deploy.yml", &definition.replace("run: |\n", "run: |\n      set -e\n")).await;
    let _worker = WorkerProcess::start(&world, "w1", &[]);
    let done = world.run(&["submit", "deploy.yml", "--watch"]).await;
    assert_eq!(done.code, Some(0), "{}\n{}", done.out, done.err);
    let notes = std::fs::read_to_string(world.path("notes")).expect("written");
    assert_eq!(notes, "one \"two\" 'three' 100% = 🦀\n\n");
}

#[tokio::test]
async fn what_is_not_there_is_answered_with_what_there_is() {
    let definition = r#"
jobs:
  build: {run: 'echo "::set-output version=1"'}
  quiet: {run: 'true'}
  deploy:
    needs: [build, quiet]
    run: |
      for asked in "biuld version" "build vresion" "quiet version"; do
        "$WFG" output $asked && exit 1
        test $? = 2 || exit 1
      done
"#;
    let world = World::with("deploy.yml", definition).await;
    let _worker = WorkerProcess::start(&world, "w1", &[]);
    let id = world.submit("deploy.yml").await;
    world.ended(&id).await;
    let said = "\
error: this job doesn't need `biuld`; it needs build and quiet. A job receives the outputs of the jobs that its `needs` names.
error: `build` gave no output `vresion`; it gave version.
error: `quiet` gave no output `version`; it gave none.
";
    assert_eq!(world.good(&["logs", &id, "deploy"]).await, said);
    assert!(world.good(&["status", &id]).await.contains("success"));
}

#[tokio::test]
async fn outside_a_job_the_error_names_the_command_that_works() {
    let mut command = wfg(&["output", "build", "version"]);
    command.env_remove("UPSTREAM_OUTPUTS");
    let done = finish(command, "").await;
    assert_eq!((done.code, done.out.as_str()), (Some(2), ""));
    assert!(done.err.contains("inside a job") && done.err.contains("`wfg outputs ID build`"), "{}", done.err);

    let mut command = wfg(&["output", "build", "version"]);
    command.env("UPSTREAM_OUTPUTS", "/nowhere/at/all");
    let done = finish(command, "").await;
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("/nowhere/at/all") && done.err.contains("can't be read"), "{}", done.err);
}

#[tokio::test]
async fn an_output_over_a_megabyte_fails_its_job_at_once_with_name_size_and_limit() {
    let definition = "\
jobs:
  build:
    retries: 5
    run: (printf 'huge='; head -c 1100000 /dev/zero | tr '\\0' x; echo) > \"$WORKFLOW_OUTPUT\"
  deploy: {needs: build, run: 'true'}
";
    let world = World::with("deploy.yml", definition).await;
    let _worker = WorkerProcess::start(&world, "w1", &[]);
    let id = world.submit("deploy.yml").await;
    world.ended(&id).await;
    let workflow: serde_json::Value =
        serde_json::from_str(&world.good(&["status", "--json", &id]).await).expect("JSON");
    let (build, deploy) = (&workflow["jobs"][0], &workflow["jobs"][1]);
    let error = build["error"].as_str().expect("an error");
    assert!(["`huge`", "1100000 bytes", "1048576 bytes"].iter().all(|part| error.contains(part)), "{error}");
    assert_eq!((build["attempt"].as_u64(), deploy["status"].as_str()), (Some(0), Some("skipped")));
}

#[tokio::test]
async fn definition_prints_the_file_as_submitted() {
    let definition = "# a comment stays\nname: deploy\njobs:\n  build: {run: 'true'}\n";
    let world = World::with("deploy.yml", definition).await;
    let id = world.submit("deploy.yml").await;
    assert_eq!(world.good(&["definition", &id]).await, definition);
}
