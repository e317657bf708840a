import assert from "node:assert/strict";
import { test } from "node:test";
import type { Job, WaitingFor, WorkerInfo } from "../../src/api.ts";
import { why } from "../../src/why.ts";

const NOW = 100_000;
const job = (waiting: Partial<WaitingFor>, labels: string[] = [], more: Partial<Job> = {}): Job => ({
  id: "deploy",
  name: "deploy",
  status: "queued",
  command: "",
  depends_on: ["a", "b", "c"],
  required_labels: labels,
  max_retries: 2,
  attempt: 0,
  started_at: null,
  finished_at_ms: null,
  outputs: {},
  worker_id: null,
  exit_code: null,
  error: null,
  waiting_for: { reason: "needs", since_ms: NOW - 12_000, ...waiting },
  ...more,
});
const worker = (
  id: string,
  labels: string[],
  current: string | null = null,
  more: Partial<WorkerInfo> = {},
): WorkerInfo => ({
  worker_id: id,
  labels,
  registered_at_ms: 0,
  last_heartbeat_ms: NOW,
  current_job: current,
  status: current ? "busy" : "idle",
  ...more,
});
const text = (waits: Job, workers: WorkerInfo[] = []) => {
  const answer = why(waits, workers, NOW)!;
  return [answer.sentence, ...answer.facts].join("\n");
};

test("needs are counted", () => {
  assert.equal(text(job({ needs: ["a"] })), "deploy has waited for 12 s: a isn't done.");
  assert.equal(text(job({ needs: ["a", "b"] })), "deploy has waited for 12 s: 2 of the 3 jobs it needs aren't done.");
});

test("missing labels are named, with the nearest worker", () => {
  const waits = job({ reason: "missing_labels", missing: ["gpu"], nearest: "w2" }, ["gpu", "linux"]);
  assert.equal(
    text(waits, [worker("w1", []), worker("w2", ["linux"], "train")]),
    "deploy has waited for 12 s: no worker online has all its labels (gpu, linux); w2 comes nearest and lacks gpu.\n" +
      "w1 (no labels) lacks gpu, linux\nw2 (linux) lacks gpu\nstart one: wfg worker --labels gpu,linux",
  );
});

test("busy workers are counted, and what they run is named", () => {
  const workers = [worker("w1", ["gpu"], "train"), worker("w2", ["gpu"]), worker("w3", [])];
  assert.equal(
    text(job({ reason: "busy", busy: 1 }, ["gpu"]), workers),
    "deploy has waited for 12 s: 1 of 2 workers online with all its labels (gpu) is busy.\n" +
      "w1 runs train\nw2 is free, and takes it when it asks next",
  );
  const exclusive = worker("w2", ["gpu"], null, { exclusive: true });
  assert.equal(
    text(job({ reason: "busy", busy: 1 }), [worker("w1", [], "train"), exclusive]),
    "deploy has waited for 12 s: 1 of 1 worker online is busy.\nw1 runs train",
  );
  assert.match(text(job({ reason: "busy", busy: 0 })), /it is ready, and no worker has asked for it yet/);
});

test("a delay says when and which try", () => {
  const waits = job({ reason: "delayed", until_ms: NOW + 7000 }, [], { attempt: 1, error: "exit code 1" });
  assert.equal(
    text(waits),
    "deploy has waited for 12 s: it failed, and is tried again in 7 s (try 2 of 3).\nthe last try failed: exit code 1",
  );
  const more = job({ reason: "delayed", until_ms: NOW + 7000 }, [], { attempt: 3, error: "exit code 75" });
  assert.match(text(more), /in 7 s \(try 4\)/);
});

test("no worker, and exclusive ones only", () => {
  assert.equal(
    text(job({ reason: "no_worker" })),
    "deploy has waited for 12 s: no worker is online.\nstart one: wfg worker",
  );
  assert.match(
    text(job({ reason: "exclusive" }), [worker("w1", ["gpu"])]),
    /every online worker is exclusive\.\nonline: w1;/,
  );
});

test("paused workers, secrets and attempts that were given back are named", () => {
  const waits = job({ reason: "no_worker", paused: [{ worker_id: "w1", reason: "no disk\u202e" }] }, [], {
    secrets: ["KEY"],
    attempts: [{ attempt: 0, cause: "returned", error: "no disk", finished_at_ms: 1 }],
  });
  assert.equal(
    text(waits, [worker("w1", [], null, { paused: "no disk" })]),
    "deploy has waited for 12 s: w1 is paused: no disk\\u{202e}.\nonly a worker whose token allows its secrets takes it: KEY\n" +
      "it was given back: no disk\nstart one: wfg worker",
  );
  const busy = job({ reason: "busy", busy: 1, paused: [{ worker_id: "w1", reason: "no disk" }] });
  assert.match(text(busy, [worker("w2", [], "train")]), /is busy\.\nw1 is paused: no disk\n/);
});

test("a job that doesn't wait has no reason", () => {
  assert.equal(why(job({}, [], { status: "running" }), [], NOW), undefined);
  assert.equal(why(job({}, [], { waiting_for: null }), [], NOW), undefined);
});
