//! The table of keys: every key of a workflow file and of the list form, what it accepts and what it means.
//!
//! The parser refuses a key that is not here. The JSON Schema, the body in the OpenAPI description and the table in
//! `docs/workflow-file.md` are made from it, and a test feeds the parser and the schema the same documents.

use std::sync::LazyLock;

use super::node::Entry;

/// A mapping of the file that has keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Workflow,
    Job,
    Retry,
    Defaults,
    Checkout,
    Input,
    Matrix,
    Concurrency,
    /// The events that start a run.
    On,
    Push,
    PullRequest,
    MergeGroup,
    Step,
    Reference,
    /// A label that is the value of an axis.
    LabelReference,
    /// The job that runs if another one failed.
    OnFailure,
    /// The workflow of the list form, which only programs write. Unknown keys are ignored there.
    ListedWorkflow,
    /// A job of the list form.
    ListedJob,
}

/// One key.
#[derive(Clone)]
pub(super) struct Key {
    pub name: &'static str,
    pub form: Form,
    pub required: bool,
    /// What it means: one or two sentences of Markdown.
    pub about: &'static str,
}

/// What a key accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A text that lists show, up to `limits::NAME`.
    Shown,
    /// Events that start a run.
    Events,
    /// The filters of an event, which may be left out.
    Event(Level),
    /// Patterns of names or paths.
    Patterns,
    /// The states that a forge is told: `run`, or jobs.
    States,
    /// Variables; with `references`, a value may come from the output of a needed job.
    Env {
        references: bool,
    },
    /// At least one job: a mapping of ids to jobs, or the list of the list form.
    Jobs,
    JobId,
    JobIds,
    Labels,
    Secrets,
    /// A shell script with something in it.
    Script,
    /// A shell script, which may be empty.
    Command,
    Steps,
    /// How many tries: 0 to `limits::RETRIES`.
    Tries,
    Retry,
    /// Tries by exit code.
    ExitBudgets,
    /// A time in whole seconds, from `least` to `limits::TIMEOUT_SECS`.
    Time {
        least: u32,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// `bash`, `sh`, or a program and its arguments.
    Shell,
    /// `shared`, `fresh`, or a path below the job's own folder.
    Workdir,
    /// True, false, or a mapping.
    Checkout,
    /// 0 to `limits::CHECKOUT_DEPTH`.
    Depth,
    /// Relative paths of folders.
    Folders,
    Defaults,
    Inputs,
    /// Axes with their values; `include` and `exclude`.
    Matrix,
    /// Combinations of values; with `ids`, each may have one.
    Legs {
        ids: bool,
    },
    /// The type of an input.
    InputType,
    /// Any text, also an empty one, a number, true or false.
    InputValue,
    InputValues,
    Boolean,
    /// The name of a group, as a label.
    Group,
    /// The name of a group, or a mapping.
    RunGroup,
    /// The names of inputs.
    InputNames,
    /// 1 to 255.
    ExitCode,
    OnFailure,
    /// `<job>.<output>`.
    OutputOfJob,
    /// The name of an input or an axis.
    Axis,
    /// Any value, up to `limits::KEPT` as JSON.
    Any,
}

const fn key(name: &'static str, form: Form, about: &'static str) -> Key {
    Key { name, form, required: false, about }
}

const fn required(name: &'static str, form: Form, about: &'static str) -> Key {
    Key { name, form, required: true, about }
}

const WORKFLOW: &[Key] = &[
    key("name", Form::Shown, "The workflow's name in lists. Default: the name of the file."),
    key(
        "on",
        Form::Events,
        "The events of a linked repository that start a run: `push`, `pull_request`, `merge_group`. `manual`: none.",
    ),
    key("inputs", Form::Inputs, "Values that a run is given. Each job has them as `INPUT_<NAME>`."),
    key("defaults", Form::Defaults, "Settings of every job that doesn't have its own."),
    key(
        "concurrency",
        Form::RunGroup,
        "The group of the workflow's runs. One run of a group is open at a time, over all workflows; the others wait in the order of their start.",
    ),
    key("env", Form::Env { references: false }, "Environment variables of every job."),
    key(
        "report",
        Form::States,
        "The states that a linked forge is told beside the one of the run. Default: each job, if there are at most 50.",
    ),
    required("jobs", Form::Jobs, "The jobs, by id."),
    key(
        "on_failure",
        Form::OnFailure,
        "A job that runs after all others, if one of them failed without `allow_failure`. It has the keys of a job, except \
         `needs`, `if`, `allow_failure` and `matrix`.",
    ),
];

/// What to do in place of `on.schedule`.
pub(super) const SCHEDULE: &str = "let cron or a timer call `wfg submit`";

const ON: &[Key] = &[
    key("push", Form::Event(Level::Push), "A push to a branch, or of a tag."),
    key(
        "pull_request",
        Form::Event(Level::PullRequest),
        "A pull request is opened, or has a new commit or another base. Also one from a fork, with the rights of forks.",
    ),
    key("merge_group", Form::Event(Level::MergeGroup), "A merge queue asks for checks."),
];

const BRANCHES: &str = "Branches. With `tags` alone, no push to a branch starts a run.";
const BASES: &str = "Branches that are merged into. Default: all.";
const PATHS: &str = "Files of which one must have changed. What can't be known counts as changed.";

const PUSH: &[Key] = &[
    key("branches", Form::Patterns, BRANCHES),
    key("tags", Form::Patterns, "Tags. With `branches` alone, no push of a tag starts a run."),
    key("paths", Form::Patterns, PATHS),
];

const PULL_REQUEST: &[Key] = &[key("branches", Form::Patterns, BASES), key("paths", Form::Patterns, PATHS)];

const MERGE_GROUP: &[Key] = &[key("branches", Form::Patterns, BASES)];

const DEFAULTS: &[Key] = &[
    key("shell", Form::Shell, "What reads each `run`."),
    key("workdir", Form::Workdir, "Where each `run` begins."),
    key("checkout", Form::Checkout, "Whether the commit of the run is checked out before each script, and how."),
    key("before", Form::Script, "Lines that are put before each `run` of the default shell, in the same process."),
    key("labels", Form::Labels, "A worker must have all of these labels."),
    key("timeout", Form::Time { least: 1 }, "Longest time of one attempt."),
    key("queue_timeout", Form::Time { least: 1 }, "Longest time that a job waits for a worker."),
    key("retries", Form::Tries, "Tries after the first. Short for `retry: {max: ...}`."),
    key("retry", Form::Retry, "How often, and after what delay, a failed job is tried again."),
    key("outputs_from", Form::Word(&["both", "stdout", "file"]), "Where the worker looks for outputs."),
    key("skip_exit", Form::ExitCode, "The exit code by which a job says that there is nothing for it to do."),
];

const CHECKOUT: &[Key] = &[
    key(
        "depth",
        Form::Depth,
        "Commits of the history that are fetched. 0: all of it, with all branches and tags. Default: 1.",
    ),
    key("submodules", Form::Boolean, "Whether submodules are checked out too, with their own. Default: false."),
    key("lfs", Form::Boolean, "Whether the files of Git LFS are fetched. Default: false, and their pointers stay."),
    key(
        "paths",
        Form::Folders,
        "The folders that are checked out, with all below them, and the files beside them and above. Default: everything.",
    ),
    key(
        "credentials",
        Form::Word(&["drop", "keep", "none"]),
        "What becomes of the credential. `drop`, the default: it is gone when the script begins. `keep`: the script has it in \
         `CHECKOUT_TOKEN`, and its git uses it. `none`: the checkout has none.",
    ),
];

const INPUT: &[Key] = &[
    key("type", Form::InputType, "What a value must be. Default: text."),
    key("choices", Form::InputValues, "The values that there are to choose from."),
    key("default", Form::InputValue, "The value if none is given. Default: empty."),
    key("required", Form::Boolean, "Whether a value of at least one byte must be given."),
    key("description", Form::Shown, "For people."),
];

const CONCURRENCY: &[Key] = &[
    required(
        "group",
        Form::Group,
        "The group's name. It follows the rules of labels, and a token must allow it as one.",
    ),
    key(
        "per",
        Form::InputNames,
        "Inputs whose values are part of the name: runs with other values are in another group.",
    ),
    key(
        "when_newer",
        Form::Word(&["wait", "cancel"]),
        "With `cancel`, a newer run of the group cancels a run of this workflow, also one that has started. Default: wait.",
    ),
];

const MATRIX: &[Key] = &[
    key("include", Form::Legs { ids: true }, "More combinations, each whole. A key `id` names the job of one."),
    key("exclude", Form::Legs { ids: false }, "Values of combinations that are left out."),
];

const JOB: &[Key] = &[
    key("name", Form::Shown, "The job's name for people. Default: its id."),
    key("needs", Form::JobIds, "Jobs that must pass before this one starts: succeed, or fail with `allow_failure`."),
    key(
        "if",
        Form::Word(&["success", "failure", "always"]),
        "Which ends of the jobs in `needs` start this one: all passed, one failed, or any. Default: success.",
    ),
    key("allow_failure", Form::Boolean, "Whether a failure of this job lets the run and the jobs that need it go on."),
    key(
        "skip_exit",
        Form::ExitCode,
        "An attempt that ends with this exit code ends the job as skipped: there was nothing for it to do.",
    ),
    key("run", Form::Script, "A script. A job has either `run` or `steps`."),
    key(
        "shell",
        Form::Shell,
        "What reads the script. Default: `bash --noprofile --norc -eo pipefail`, or `sh -e` where there is no bash.",
    ),
    key(
        "workdir",
        Form::Workdir,
        "Where the script begins. `shared`, the default: the worker's directory, which stays. `fresh`: an empty folder of \
         its own, removed at the end. Or a path below that folder.",
    ),
    key(
        "checkout",
        Form::Checkout,
        "Checks out the commit of the run into `$JOB_DIR/src` before the script. A script without a `workdir` begins there.",
    ),
    key("matrix", Form::Matrix, "Lists of values. The job is written out for each combination, as `<id>@<values>`."),
    key(
        "labels",
        Form::Labels,
        "A worker must have *all* of these labels. Without labels any worker may take the job.",
    ),
    key(
        "concurrency",
        Form::Group,
        "The job's group. One job of a group runs at a time, over all runs; the others wait in the order in which their needs were met. A job keeps the group until it ends, also between its tries.",
    ),
    key("retries", Form::Tries, "Tries after the first. Short for `retry: {max: ...}`."),
    key("retry", Form::Retry, "How often, and after what delay, a failed job is tried again."),
    key("timeout", Form::Time { least: 1 }, "Longest time of one attempt. The engine ends a longer one itself."),
    key("queue_timeout", Form::Time { least: 1 }, "The job fails if no worker takes it for so long."),
    key("steps", Form::Steps, "Scripts that run in this order until one fails."),
    key("outputs_from", Form::Word(&["both", "stdout", "file"]), "Where the worker looks for outputs. Default: both."),
    key("metadata", Form::Any, "Stored and returned as given."),
    key("env", Form::Env { references: true }, "Environment variables. They win over those of the workflow."),
    key("secrets", Form::Secrets, "Secrets that the job is given as environment variables of the same names."),
];

const RETRY: &[Key] = &[
    key("max", Form::Tries, "Tries after the first."),
    key("lost", Form::Tries, "Tries after a lost worker, counted apart from `max`."),
    key("timeout", Form::Tries, "Tries after a timeout, counted apart from `max`."),
    key(
        "exit",
        Form::ExitBudgets,
        "Tries by exit code, such as `{75: 5, 2: 0, 130-145: 1}`, each counted apart from `max`. 0: never again. \
         A signal is 128 and its number.",
    ),
    key("backoff", Form::Word(&["fixed", "exponential"]), "Whether the delay stays the same or doubles with each try."),
    key(
        "delay",
        Form::Time { least: 0 },
        "Delay before the second try. Default: 10 s if `backoff` is given, else none.",
    ),
    key("max_delay", Form::Time { least: 0 }, "Longest delay; only with `backoff: exponential`. Default: 5 m."),
];

const STEP: &[Key] = &[
    key("id", Form::JobId, "Unique in its job; the step's title if it has no name."),
    key("name", Form::Shown, "The step's title in the log."),
    required("run", Form::Script, "A script."),
    key("shell", Form::Shell, "What reads the script. Default: that of the job."),
    key("workdir", Form::Workdir, "Where the script begins. Default: that of the job."),
    key("env", Form::Env { references: false }, "Environment variables. They win over those of the job."),
];

const REFERENCE: &[Key] = &[
    key(
        "from",
        Form::OutputOfJob,
        "The job that gives the value, which must be needed, and its output. Only on a job.",
    ),
    key("input", Form::Axis, "The input that has the value."),
    key("matrix", Form::Axis, "The axis of the job's matrix that has the value."),
];

const LABEL_REFERENCE: &[Key] = &[required("matrix", Form::Axis, "The axis of the job's matrix that has the label.")];

const LISTED_WORKFLOW: &[Key] = &[
    key("name", Form::Shown, "The workflow's name in lists."),
    key("trigger", Form::Shown, "Shown as the workflow's trigger. It starts nothing."),
    required("jobs", Form::Jobs, "The jobs."),
];

const LISTED_JOB: &[Key] = &[
    required("id", Form::JobId, "Unique in the workflow."),
    required("name", Form::Shown, "The job's name for people."),
    required("command", Form::Command, "A script that `sh` runs, without options."),
    key("depends_on", Form::JobIds, "Jobs that must succeed before this one starts."),
    key("required_labels", Form::Labels, "A worker must have all of these labels."),
    key("secrets", Form::Secrets, "Secrets that the job is given as environment variables of the same names."),
    key("max_retries", Form::Tries, "Tries after the first."),
    key("metadata", Form::Any, "Stored and returned as given."),
    key("ports", Form::Any, "Stored and returned as given."),
    key("children", Form::Any, "Stored and returned as given."),
    key("collapsed", Form::Any, "Stored and returned as given."),
];

/// Keys of a job that are about other jobs, or about the run: the job of `on_failure` doesn't have them.
const NOT_ON_FAILURE: [&str; 4] = ["needs", "if", "allow_failure", "matrix"];

static ON_FAILURE: LazyLock<Vec<Key>> =
    LazyLock::new(|| JOB.iter().filter(|key| !NOT_ON_FAILURE.contains(&key.name)).cloned().collect());

impl Level {
    /// Those of the file that people write.
    pub const WRITTEN: [Self; 16] = [
        Self::Workflow,
        Self::Job,
        Self::Defaults,
        Self::Checkout,
        Self::Input,
        Self::Matrix,
        Self::Concurrency,
        Self::On,
        Self::Push,
        Self::PullRequest,
        Self::MergeGroup,
        Self::Retry,
        Self::Step,
        Self::Reference,
        Self::LabelReference,
        Self::OnFailure,
    ];

    /// In the order of messages and documentation.
    pub fn keys(self) -> &'static [Key] {
        match self {
            Self::Workflow => WORKFLOW,
            Self::Job => JOB,
            Self::Retry => RETRY,
            Self::Defaults => DEFAULTS,
            Self::Checkout => CHECKOUT,
            Self::Input => INPUT,
            Self::Matrix => MATRIX,
            Self::Concurrency => CONCURRENCY,
            Self::On => ON,
            Self::Push => PUSH,
            Self::PullRequest => PULL_REQUEST,
            Self::MergeGroup => MERGE_GROUP,
            Self::Step => STEP,
            Self::Reference => REFERENCE,
            Self::LabelReference => LABEL_REFERENCE,
            Self::OnFailure => &ON_FAILURE,
            Self::ListedWorkflow => LISTED_WORKFLOW,
            Self::ListedJob => LISTED_JOB,
        }
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.keys().iter().map(|key| key.name)
    }

    pub fn has(self, name: &str) -> bool {
        self.names().any(|key| key == name)
    }

    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Workflow | Self::ListedWorkflow => "a workflow",
            Self::Job | Self::ListedJob => "a job",
            Self::Retry => "`retry`",
            Self::Defaults => "`defaults`",
            Self::Checkout => "`checkout`",
            Self::Input => "an input",
            Self::Matrix => "`matrix`",
            Self::Concurrency => "`concurrency`",
            Self::On => "`on`",
            Self::Push => "`on.push`",
            Self::PullRequest => "`on.pull_request`",
            Self::MergeGroup => "`on.merge_group`",
            Self::Step => "a step",
            Self::Reference => "a value",
            Self::LabelReference => "a label",
            Self::OnFailure => "`on_failure`",
        }
    }
}

/// The entry of a key, with its position.
pub(super) fn find<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.key == key)
}
