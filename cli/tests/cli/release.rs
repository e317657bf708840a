//! `examples/release.yml`: inputs, a matrix, an allowed failure, a rollback and turns, on a server and on one machine.

use crate::common::{Done, World, finish, in_order, wfg};

const RELEASE: &str = include_str!("../../../examples/release.yml");

/// What is printed at the end about a version that passes its smoke test.
fn is_released(done: &Done) {
    assert_eq!(done.code, Some(0), "{}\n{}", done.out, done.err);
    let expected = [
        "JOB ",
        "build@amd64,release  success",
        "build@amd64,debug    success",
        "build@arm64,release  success",
        "lint                 failure",
        "deploy               success",
        "smoke                success",
        "rollback             skipped",
        "on_failure           skipped",
        "release succeeded",
    ];
    in_order(&done.out, &expected);
    assert!(done.out.contains("package=app-1.2-amd64-release"), "{}", done.out);
}

/// What is printed at the end about a version that fails it.
fn is_rolled_back(done: &Done) {
    assert_eq!(done.code, Some(1), "{}\n{}", done.out, done.err);
    let expected = [
        "JOB ",
        "deploy               success",
        "smoke                failure",
        "rollback             success",
        "on_failure           success",
        "release failed",
    ];
    in_order(&done.out, &expected);
    assert!(done.out.contains(r#"failed={"smoke":"failure"}"#), "{}", done.out);
}

#[tokio::test]
async fn example_of_a_release_runs_on_a_server() {
    let mut world = World::with("release.yml", RELEASE).await;
    world.worker("builder", "linux,amd64,arm64");
    world.worker("deployer", "production");
    is_released(&world.run(&["submit", "release.yml", "-f", "version=1.2", "--watch"]).await);
    is_rolled_back(&world.run(&["submit", "release.yml", "-f", "version=broken", "--watch"]).await);
}

#[tokio::test]
async fn example_of_a_release_runs_on_one_machine() {
    let dir = tempfile::TempDir::new().expect("a directory");
    std::fs::write(dir.path().join("release.yml"), RELEASE).expect("written");
    let run = async |version: &str| {
        let mut command = wfg(&["run", "release.yml", "-f", version]);
        command.current_dir(dir.path());
        finish(command, "").await
    };
    is_released(&run("version=1.2").await);
    is_rolled_back(&run("version=broken").await);
}
