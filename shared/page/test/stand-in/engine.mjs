// A stand-in for the engine: workflows in memory, jobs as shell commands on this machine. It is for the tests of the page only, and it
// knows no leases, timers or limits. The rules of the real engine are in shared/engine.
import { spawn } from "node:child_process";
import { stacksOf } from "./stacks.mjs";

const isFinal = (status) => status !== "queued" && status !== "running";

export class Refusal extends Error {
  constructor(status, code, message, details) {
    super(message);
    Object.assign(this, { status, code, details });
  }
}

export class Engine {
  workflows = new Map();
  workers = [];
  keys = new Map();
  #next = 1;
  #watchers = new Set();

  /** Adds a worker with these labels. */
  worker(id, labels = [], exclusive = false) {
    this.workers.push({ id, labels, exclusive, job: null, registered: Date.now() });
    this.#pump();
  }

  /** Calls `listener` after every change. Returns the function that ends it. */
  watch(listener) {
    this.#watchers.add(listener);
    return () => this.#watchers.delete(listener);
  }

  submit(text, type, run, key) {
    if (key !== undefined && this.keys.has(key)) return this.find(this.keys.get(key));
    const definition = read(text, type);
    const id = `wf-${String(this.#next++).padStart(4, "0")}`;
    const ids = Object.keys(definition.jobs);
    const jobs = ids.map((job) => jobOf(job, definition.jobs[job], ids));
    const workflow = {
      id,
      name: definition.name ?? id,
      text,
      type,
      jobs,
      run: 1,
      status: "queued",
      created: Date.now(),
      started: null,
      finished: null,
      version: 0,
      rerunAt: 0,
    };
    workflow.graph = graphOf(workflow);
    this.workflows.set(id, workflow);
    if (key !== undefined) this.keys.set(key, id);
    if (run) this.start(id);
    return workflow;
  }

  find(id) {
    const workflow = this.workflows.get(id);
    if (!workflow) throw new Refusal(404, "no_such_workflow", `there is no workflow \`${id}\``);
    return workflow;
  }

  job(id, jobId) {
    const workflow = this.find(id);
    const job = workflow.jobs.find((each) => each.id === jobId);
    if (!job) throw new Refusal(404, "no_such_job", `workflow \`${id}\` has no job \`${jobId}\``);
    return { workflow, job };
  }

  start(id, only) {
    const workflow = this.find(id);
    if (workflow.status === "running") throw new Refusal(409, "workflow_running", `workflow \`${id}\` is running`);
    const isFirst = workflow.started === null;
    if (!isFirst) workflow.run++;
    Object.assign(workflow, { status: "running", started: Date.now(), finished: null });
    for (const job of workflow.jobs) {
      if (only === "failed" && job.status === "success") continue;
      Object.assign(job, fresh());
    }
    workflow.graph = { ...workflow.graph, run: workflow.run };
    if (!isFirst) workflow.rerunAt = ++workflow.version;
    this.#settle(workflow);
  }

  cancel(id) {
    const workflow = this.find(id);
    if (isFinal(workflow.status))
      throw new Refusal(409, "workflow_final", `workflow \`${id}\` is not running: it is ${workflow.status}`);
    for (const job of workflow.jobs.filter((each) => !isFinal(each.status))) {
      this.#change(workflow, job, { status: "cancelled", finished: Date.now() });
      job.process?.kill("SIGKILL");
    }
    this.#settle(workflow);
  }

  remove(id) {
    this.find(id);
    this.workflows.delete(id);
    this.#tell();
  }

  /** Ends all processes. */
  stop() {
    for (const { jobs } of this.workflows.values()) for (const job of jobs) job.process?.kill("SIGKILL");
  }

  /** Why a queued job waits: the reasons of the real engine, for what this one knows. */
  waitingFor(workflow, job) {
    if (job.status !== "queued" || workflow.status !== "running") return null;
    const open = job.needs.map((need) => workflow.jobs[need]).filter((need) => need.status !== "success");
    const since_ms = job.ready ?? workflow.started;
    if (open.length > 0) return { reason: "needs", since_ms, needs: open.map((need) => need.id) };
    if (this.workers.length === 0) return { reason: "no_worker", since_ms };
    const able = this.workers.filter((worker) => takes(worker, job));
    if (able.length > 0) return { reason: "busy", since_ms, busy: able.filter((worker) => worker.job).length };
    if (job.labels.length === 0) return { reason: "exclusive", since_ms, nearest: this.workers[0].id };
    const lacking = (worker) => job.labels.filter((label) => !worker.labels.includes(label));
    const nearest = [...this.workers].sort((a, b) => lacking(a).length - lacking(b).length)[0];
    return { reason: "missing_labels", since_ms, missing: lacking(nearest), nearest: nearest.id };
  }

  #change(workflow, job, values) {
    Object.assign(job, values, { version: ++workflow.version });
  }

  /** Makes jobs ready or skipped, ends the run, and gives jobs to free workers. */
  #settle(workflow) {
    let isStable = false;
    while (!isStable && workflow.status === "running") {
      isStable = true;
      for (const job of workflow.jobs) {
        if (job.status !== "queued" || job.ready !== null) continue;
        const needs = job.needs.map((need) => workflow.jobs[need].status);
        if (needs.some((status) => isFinal(status) && status !== "success")) {
          this.#change(workflow, job, { status: "skipped", finished: Date.now() });
          isStable = false;
        } else if (needs.every((status) => status === "success")) {
          this.#change(workflow, job, { ready: Date.now() });
        }
      }
      if (workflow.jobs.every((job) => isFinal(job.status))) {
        const has = (status) => workflow.jobs.some((job) => job.status === status);
        workflow.status = has("failure") ? "failure" : has("cancelled") ? "cancelled" : "success";
        workflow.finished = Date.now();
        workflow.version++;
      }
    }
    this.#pump();
  }

  #pump() {
    for (const worker of this.workers.filter((each) => !each.job)) {
      for (const workflow of this.workflows.values()) {
        if (workflow.status !== "running") continue;
        const job = workflow.jobs.find(
          (each) => each.status === "queued" && each.ready !== null && takes(worker, each),
        );
        if (!job) continue;
        this.#execute(worker, workflow, job);
        break;
      }
    }
    this.#tell();
  }

  #execute(worker, workflow, job) {
    worker.job = job.id;
    const log = [];
    job.logs[job.attempt] = log;
    this.#change(workflow, job, { status: "running", started: Date.now(), worker: worker.id });
    const run = workflow.run;
    const process = spawn("bash", ["--noprofile", "--norc", "-eo", "pipefail", "-c", job.run], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    job.process = process;
    const outputs = {};
    let sequence = 0;
    for (const stream of ["stdout", "stderr"]) {
      let rest = "";
      const add = (data) => {
        for (const [, name, value] of data.matchAll(/^::set-output name=(\w+)::(.*)$/gm)) outputs[name] = value;
        log.push({
          workflow_id: workflow.id,
          job_id: job.id,
          sequence: sequence++,
          data,
          timestamp_ms: Date.now(),
          stream,
        });
        this.#tell();
      };
      process[stream].setEncoding("utf8");
      process[stream].on("data", (text) => {
        rest += text;
        const end = rest.lastIndexOf("\n") + 1;
        if (end > 0) add(rest.slice(0, end));
        rest = rest.slice(end);
      });
      process[stream].on("end", () => rest !== "" && add(`${rest}\n`));
    }
    process.on("close", (code) => {
      worker.job = null;
      if (job.process === process) job.process = null;
      if (workflow.run === run && job.status === "running") this.#report(workflow, job, code, outputs);
      else this.#pump();
    });
  }

  #report(workflow, job, code, outputs) {
    const finished = Date.now();
    if (code === 0) {
      this.#change(workflow, job, { status: "success", finished, exit: 0, outputs });
    } else {
      const error = `the command ended with exit code ${code}`;
      job.attempts.push({
        attempt: job.attempt,
        cause: "failure",
        error,
        worker_id: job.worker,
        exit_code: code,
        started_at: job.started,
        finished_at_ms: finished,
      });
      if (job.attempt < job.retries) {
        this.#change(workflow, job, {
          status: "queued",
          attempt: job.attempt + 1,
          ready: finished,
          started: null,
          worker: null,
          error,
        });
      } else {
        this.#change(workflow, job, { status: "failure", finished, exit: code, error });
      }
    }
    this.#settle(workflow);
  }

  #tell() {
    for (const listener of this.#watchers) listener();
  }
}

function fresh() {
  return {
    status: "queued",
    attempt: 0,
    ready: null,
    started: null,
    finished: null,
    worker: null,
    exit: null,
    error: null,
    outputs: {},
    attempts: [],
    logs: [],
    version: 0,
    process: null,
  };
}

function jobOf(id, settings, ids) {
  const list = (value) => (value === undefined ? [] : [value].flat());
  const needs = list(settings.needs).map((need) => ids.indexOf(need));
  return {
    id,
    name: settings.name ?? id,
    run: settings.run,
    needs,
    labels: list(settings.labels).sort(),
    retries: settings.retries ?? 0,
    ...fresh(),
  };
}

function graphOf({ run, jobs }) {
  const labels = [...new Set(jobs.map((job) => JSON.stringify(job.labels)))];
  const { stacks, of } = stacksOf(jobs);
  const name = (job) => (job.name === job.id ? null : job.name);
  return {
    run,
    labels: labels.map((text) => JSON.parse(text)),
    stacks,
    jobs: jobs.map((job, i) => [job.id, name(job), job.needs, labels.indexOf(JSON.stringify(job.labels)), of[i]]),
  };
}

function takes(worker, job) {
  return job.labels.every((label) => worker.labels.includes(label)) && !(worker.exclusive && job.labels.length === 0);
}

/** Reads JSON. Of YAML it knows nothing but how to complain: a wrong need is named with its line. */
function read(text, type) {
  if (Buffer.byteLength(text) > 1024 * 1024)
    throw new Refusal(
      413,
      "invalid_definition",
      `the definition has ${Buffer.byteLength(text)} bytes; at most 1048576 are allowed`,
    );
  let definition;
  try {
    definition = JSON.parse(text);
    if (definition.definition)
      definition =
        typeof definition.definition === "string" ? read(definition.definition, type) : definition.definition;
  } catch (error) {
    if (error instanceof Refusal) throw error;
    const lines = text.split("\n");
    const problems = lines.flatMap((line, i) =>
      /needs:.*nowhere/.test(line)
        ? [
            {
              code: "unknown_need",
              message: "`nowhere` is no job of this workflow",
              path: "jobs.deploy.needs",
              line: i + 1,
              column: line.indexOf("nowhere") + 1,
            },
          ]
        : [],
    );
    if (problems.length === 0)
      problems.push({
        code: "syntax",
        message: `this stand-in reads JSON only: ${error.message}`,
        path: "",
        line: 1,
        column: 1,
      });
    throw new Refusal(422, "invalid_definition", `${problems.length} problem${problems.length > 1 ? "s" : ""}`, {
      problems,
    });
  }
  if (typeof definition.jobs !== "object")
    throw new Refusal(422, "invalid_definition", "1 problem", {
      problems: [{ code: "missing", message: "`jobs` is missing", path: "" }],
    });
  return definition;
}
