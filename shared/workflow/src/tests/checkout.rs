//! `checkout`: what the key accepts. What its text does is tested with a server of git, in `tests/tests/forge/fetch.rs`.

use protocol::SecretValue;
use protocol::wire::CHECKOUT_TOKEN;

use super::*;

/// The command of a job with this checkout, of a commit that has a ref.
fn command(checkout: &str, credential: Option<CheckoutCredential>) -> String {
    let definition = yaml(&format!("jobs: {{a: {{run: make, shell: sh, checkout: {checkout}}}}}"));
    let from = CheckoutFrom {
        url: "https://forge.example/acme/app.git".to_owned(),
        commit: "a".repeat(40),
        refs: vec!["refs/heads/x$(id)".to_owned()],
        credential,
    };
    definition.jobs[0].settings.command_with_checkout(&[], &from)
}

#[test]
fn text_has_what_the_checkout_asks_for_and_nothing_else() {
    let credential = |set: Option<&str>| {
        let set = set.map(|value| SecretValue::new(value).expect("a value"));
        Some(CheckoutCredential { user: "x-access-token".to_owned(), set })
    };
    let has = |text: &str, all: &[&str]| all.iter().for_each(|one| assert!(text.contains(one), "{one}: {text}"));
    let lacks = |text: &str, all: &[&str]| all.iter().for_each(|one| assert!(!text.contains(one), "{one}: {text}"));
    let drops = format!("exec env -u {CHECKOUT_TOKEN} ");
    let extras = ["submodule -q", "git lfs", "sparse-checkout", "--filter", "all branches"];

    let plain = command("true", None);
    has(
        &plain,
        &["wfg_how='--depth=1'", "wfg_by_id 'refs/heads/x$(id)'", "'core.hooksPath' GIT_CONFIG_VALUE_0='/dev/null'"],
    );
    lacks(&plain, &[CHECKOUT_TOKEN, "credential", "insteadOf"]);
    lacks(&plain, &extras);
    let one = command("true", credential(None));
    let host =
        ["credential.https://forge.example.helper", "x-access-token", "git@forge.example:", "ssh://git@forge.example/"];
    has(&one, &host);
    has(&one, &[&drops]);
    has(&command("true", credential(Some("the token"))), &["the token", &drops]);
    lacks(&command("{credentials: keep}", credential(None)), &[&drops]);
    let all = command("{depth: 0, submodules: true, lfs: true, paths: [src, a/b]}", credential(None));
    has(&all, &extras);
    has(&all, &["'src' 'a/b' | git sparse-checkout", "wfg_how='--filter=blob:none'", "git lfs pull of submodules"]);
    lacks(&all, &["--depth"]);
    has(&command("{depth: 7, submodules: true}", None), &["wfg_how='--depth=7'", "--recursive --force --depth=7"]);
}

#[test]
fn checkout_is_true_false_or_a_mapping_and_defaults_apply() {
    let of = |before: &str, lines: &str| {
        let mut jobs = yaml(&format!("{before}\njobs: {{a: {{run: x, {lines}}}}}")).jobs;
        let settings = jobs.remove(0).settings;
        (settings.checkout, settings.workdir)
    };
    let whole = || Some(Checkout::default());
    assert_eq!(of("", ""), (None, Workdir::Shared));
    assert_eq!(of("", "checkout: true"), (whole(), Workdir::Checkout));
    assert_eq!(of("", "checkout: {}"), (whole(), Workdir::Checkout));
    assert_eq!(of("defaults: {checkout: true}", ""), (whole(), Workdir::Checkout));
    assert_eq!(of("defaults: {checkout: true}", "checkout: false"), (None, Workdir::Shared));
    assert_eq!(of("", "checkout: true, workdir: shared"), (whole(), Workdir::Shared));
    let all = "checkout: {depth: 0, submodules: true, lfs: true, paths: [src, a/b], credentials: keep}";
    let paths = vec!["src".to_owned(), "a/b".to_owned()];
    let expected = Checkout { depth: 0, submodules: true, lfs: true, paths, credentials: Credentials::Keep };
    assert_eq!(of("", all).0, Some(expected));
    assert_eq!(
        codes("run: x\ncheckout: {depth: -1, paths: [../a, /b], credentials: some, ref: x}"),
        ["wrong_type", "bad_path", "bad_path", "unknown_value", "unknown_key"]
    );
    assert_eq!(codes("run: x\ncheckout: {paths: []}"), ["no_paths"]);
    assert_eq!(codes("run: x\nsecrets: CHECKOUT_TOKEN"), ["secret_is_set"]);
    assert_eq!(codes("run: x\nenv: {CHECKOUT_TOKEN: x}"), ["reserved_env_name"]);
}
