//! What people bring from other systems, and what they are told to write here: each line of a table.

use super::*;

/// A definition, the path of the key in question, and what the message about it says.
const TABLE: &[(&str, &str, &str)] = &[
    // Conditions.
    (
        "jobs: {a: {run: x}, b: {needs: a, run: x, if: failure()}}",
        "jobs.b.if",
        "`if: failure` looks at the jobs in `needs` only; the workflow's `on_failure`",
    ),
    ("jobs: {a: {run: x, when: on_failure}}", "jobs.a.when", "write `if: success`, `failure` or `always`"),
    (
        "jobs: {a: {run: x, trigger_rule: one_failed}}",
        "jobs.a.trigger_rule",
        "write `if: success`, `failure` or `always`",
    ),
    ("jobs: {a: {run: x, if: always()}}", "jobs.a.if", "Write `if: always`; after a cancel nothing starts"),
    ("jobs: {a: {run: x, if: '!cancelled()'}}", "jobs.a.if", "Write `if: always`; after a cancel nothing starts"),
    ("jobs: {a: {run: x, if: all_done}}", "jobs.a.if", "Write `if: always`; after a cancel nothing starts"),
    (
        "jobs: {a: {run: x, if: \"github.ref == 'refs/heads/main'\"}}",
        "jobs.a.if",
        "Test anything else in `run`, and end it with `exit 0`",
    ),
    ("jobs: {a: {run: x, rules: []}}", "jobs.a.rules", "test anything else in `run`"),
    ("jobs: {a: {run: x, only: main}}", "jobs.a.only", "test anything else in `run`"),
    ("jobs: {a: {run: x, except: main}}", "jobs.a.except", "test anything else in `run`"),
    ("jobs: {a: {run: x, continue-on-error: true}}", "jobs.a.continue-on-error", "write `allow_failure: true`"),
    ("jobs: {a: {run: x, soft_fail: true}}", "jobs.a.soft_fail", "write `allow_failure: true`"),
    ("jobs: {a: {run: 'echo ${{ needs.build.result }}'}}", "jobs.a.run", "the file `$UPSTREAM_STATUS`"),
    ("jobs: {a: {run: x, onExit: x}}", "jobs.a.onExit", "write `on_failure` on the workflow"),
    ("jobs: {a: {run: x, on_failure_callback: x}}", "jobs.a.on_failure_callback", "write `on_failure` on the workflow"),
    ("notify: [me]\njobs: {a: {run: x}}", "notify", "write `on_failure` on the workflow, or a job with `if: always`"),
    // Values.
    (
        "jobs: {a: {run: 'echo ${{ needs.build.outputs.x }}'}}",
        "jobs.a.run",
        "write `X: {from: build.x}` in the job's `env`",
    ),
    ("jobs: {a: {run: 'echo ${{ inputs.x }}'}}", "jobs.a.run", "write `\"$INPUT_X\"`"),
    ("jobs: {a: {run: x, with: {x: 1}}}", "jobs.a.with", "write the workflow's `inputs`, and `\"$INPUT_NAME\"`"),
    ("workflow_dispatch: {inputs: {}}\njobs: {a: {run: x}}", "workflow_dispatch", "write `inputs`"),
    ("spec: {inputs: {}}\njobs: {a: {run: x}}", "spec", "write `inputs`"),
    ("parameters: {}\njobs: {a: {run: x}}", "parameters", "write `inputs`"),
    // Matrix.
    ("jobs: {a: {run: x, strategy: {matrix: {}}}}", "jobs.a.strategy", "write `matrix` on the job"),
    ("jobs: {a: {run: x, parallel: {matrix: []}}}", "jobs.a.parallel", "write `matrix` on the job"),
    ("jobs: {a: {run: x, fail-fast: false}}", "jobs.a.fail-fast", "a combination that fails stops no other"),
    (
        "jobs: {a: {run: x, matrix: {os: [mac], include: [{fast: 1}]}}}",
        "jobs.a.matrix.include[0]",
        "`include` adds whole combinations",
    ),
    (
        "jobs: {a: {run: 'echo ${{ matrix.os }}'}}",
        "jobs.a.run",
        "write `\"$MATRIX_OS\"` in a script, `{matrix: os}` in `env` and `labels`",
    ),
    ("jobs: {a: {run: x, labels: ['${{ matrix.os }}']}}", "jobs.a.labels[0]", "`{matrix: os}` in `env` and `labels`"),
    ("jobs: {a: {run: x, runs-on: linux}}", "jobs.a.runs-on", "write `labels`"),
    // Turns.
    (
        "concurrency: {group: ci, cancel-in-progress: true}\njobs: {a: {run: x}}",
        "concurrency.cancel-in-progress",
        "when_newer: cancel",
    ),
    (
        "interruptible: true\njobs: {a: {run: x}}",
        "interruptible",
        "write `concurrency: {group: <name>, when_newer: cancel}`",
    ),
    (
        "concurrency: {group: 'ci-${{ github.ref }}'}\njobs: {a: {run: x}}",
        "concurrency.group",
        "write `concurrency: {group: <name>, per: <input>}` on the workflow",
    ),
    (
        "concurrency: 'ci-${{github.ref}}'\njobs: {a: {run: x}}",
        "concurrency",
        "write `concurrency: {group: <name>, per: <input>}` on the workflow",
    ),
    ("jobs: {a: {run: x, resource_group: db}}", "jobs.a.resource_group", "write `concurrency: <name>` on the job"),
    (
        "jobs: {a: {run: x, concurrency_group: db}}",
        "jobs.a.concurrency_group",
        "write `concurrency: <name>` on the job",
    ),
    ("jobs: {a: {run: x, mutex: db}}", "jobs.a.mutex", "write `concurrency: <name>` on the job"),
    (
        "jobs: {a: {run: x, environment: production}}",
        "jobs.a.environment",
        "write `labels: production` and `concurrency: production`",
    ),
    // Tries and defaults.
    (
        "jobs: {a: {run: x, retry: {max: 1, when: x}}}",
        "jobs.a.retry.when",
        "write `lost`, `timeout` or `exit: {<code>: <tries>}`",
    ),
    ("jobs: {a: {run: x, retry: {max: 1, exit_codes: [75]}}}", "jobs.a.retry.exit_codes", "`exit: {<code>: <tries>}`"),
    (
        "jobs: {a: {run: x, retryStrategy: {limit: 1}}}",
        "jobs.a.retryStrategy",
        "write `retry: {max: 2, lost: 2, timeout: 1, exit: {75: 3}}`",
    ),
    (
        "defaults: {run: {shell: bash}}\njobs: {a: {run: x}}",
        "defaults.run",
        "write its keys in `defaults` itself, such as `shell`",
    ),
    ("default: {retry: 1}\njobs: {a: {run: x}}", "default", "write `defaults`"),
    ("jobs: {a: {run: x, shell: 'bash -e {0}'}}", "jobs.a.shell", "the script's path is put after the last word"),
    ("jobs: {a: {run: x, extends: .b}}", "jobs.a.extends", "write `defaults`, or an anchor for a whole value"),
    ("jobs: {a: {run: x, <<: {}}}", r#"jobs.a["<<"]"#, "write `defaults`, or an anchor for a whole value"),
];

#[test]
fn what_other_systems_have_is_answered_with_what_to_write_at_its_place() {
    for (text, path, advice) in TABLE {
        let found = from_yaml(text).map_or_else(|problems| problems, |definition| definition.notes);
        let about = |problem: &&Problem| problem.path == *path;
        let message = found.iter().find(about).unwrap_or_else(|| panic!("{text}: {found:#?}"));
        assert!(message.message.contains(advice), "{text}: {}", message.message);
        let at = message.at.expect("a position").offset;
        let key = path.rsplit('.').next().unwrap_or(path).trim_start_matches("a[\"").trim_end_matches("\"]");
        let key = key.split('[').next().unwrap_or(key);
        let is_at_value = text[..at].trim_end_matches([' ', '[', '{']).ends_with(&format!("{key}:"));
        assert!(text[at..].starts_with(key) || is_at_value, "{text}: {message:?} isn't at {key}");
    }
}
