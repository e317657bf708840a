/** Why a job waits, in the words of `wfg why`. */

import type { Attempt, Job, WaitingFor, WorkerInfo } from "./api.ts";
import { allOf, clean, count, cut, number } from "./text.ts";
import { about } from "./time.ts";

/** The answer: one sentence, and facts below it. */
export interface Why {
  sentence: string;
  facts: string[];
}

const SHOWN = 160;
const isAre = (n: number) => (n === 1 ? "is" : "are");
const having = (labels: readonly string[]) => (labels.length === 0 ? "" : ` with all its labels (${list(labels)})`);
const list = (labels: readonly string[]) => labels.map(clean).join(", ");
const line = (text: string) => cut(clean(text.trimEnd()), SHOWN);

/** Explains why a queued job waits; `undefined` if the server gives no reason. */
export function why(job: Job, workers: readonly WorkerInfo[], now: number): Why | undefined {
  const waiting = job.waiting_for;
  if (job.status !== "queued" || !waiting) return undefined;
  const secrets = job.secrets ?? [];
  const facts: string[] = [];
  if (waiting.reason !== "needs" && secrets.length > 0) {
    facts.push(`only a worker whose token allows its secrets takes it: ${allOf(secrets)}`);
  }
  const returned = givenBack(job);
  if (returned) facts.push(`it was given back: ${line(returned.error)}`);
  if (!pausesAreCause(waiting)) facts.push(...pauses(waiting));
  const sentence = `${clean(job.id)} has waited for ${about(now - waiting.since_ms)}: ${cause(job, waiting, workers, now)}.`;
  return { sentence, facts: [...facts, ...factsOf(job, waiting, workers)] };
}

function givenBack(job: Job): Attempt | undefined {
  const last = job.attempts?.at(-1);
  return last?.cause === "returned" ? last : undefined;
}

/** The paused workers that could run the job otherwise, with their reasons. */
function pauses(waiting: WaitingFor): string[] {
  return (waiting.paused ?? []).map((worker) => `${clean(worker.worker_id)} is paused: ${line(worker.reason)}`);
}

/** Whether the job waits because workers are paused: there are some, and no other online worker could run it. */
function pausesAreCause(waiting: WaitingFor): boolean {
  return ["no_worker", "exclusive", "missing_labels"].includes(waiting.reason) && pauses(waiting).length > 0;
}

function cause(job: Job, waiting: WaitingFor, workers: readonly WorkerInfo[], now: number): string {
  const labels = job.required_labels;
  if (pausesAreCause(waiting)) return pauses(waiting).join("; ");
  switch (waiting.reason) {
    case "needs": {
      const open = waiting.needs ?? [];
      if (open.length === 0) return "what it needs is done, and it is about to be ready";
      if (open.length === 1) return `${clean(open[0]!)} isn't done`;
      return `${number(open.length)} of the ${number(job.depends_on.length)} jobs it needs aren't done`;
    }
    case "no_worker":
      return "no worker is online";
    case "exclusive":
      return "it requires no label, and every online worker is exclusive";
    case "missing_labels": {
      const nearest =
        waiting.nearest && waiting.missing
          ? `; ${clean(waiting.nearest)} comes nearest and lacks ${list(waiting.missing)}`
          : "";
      return `no worker online has all its labels (${list(labels)})${nearest}`;
    }
    case "busy": {
      const busy = waiting.busy ?? 0;
      if (busy === 0) return "it is ready, and no worker has asked for it yet";
      const able = Math.max(busy, ableTo(job, workers).length);
      return `${number(busy)} of ${count(able, "worker")} online${having(labels)} ${isAre(busy)} busy`;
    }
    case "delayed": {
      const left = waiting.until_ms === undefined ? "soon" : `in ${about(waiting.until_ms - now)}`;
      const most = job.max_retries + 1;
      const nth = job.attempt - (job.returned ?? 0) + 1;
      // A job that has used more tries has budgets of its own for exit codes, lost attempts or timeouts.
      const total = nth > most ? "" : ` of ${most}`;
      return `it ${givenBack(job) ? "was given back" : "failed"}, and is tried again ${left} (try ${nth}${total})`;
    }
  }
}

function factsOf(job: Job, waiting: WaitingFor, workers: readonly WorkerInfo[]): string[] {
  const labels = job.required_labels;
  switch (waiting.reason) {
    case "no_worker":
      return [startOne(labels)];
    case "exclusive": {
      const ids = allOf(online(workers).map((worker) => worker.worker_id));
      return [`online: ${ids}; an exclusive worker takes only jobs that require one of its labels`, startOne(labels)];
    }
    case "missing_labels":
      return [
        ...online(workers)
          .slice(0, 10)
          .map((worker) => lacks(labels, worker)),
        startOne(labels),
      ];
    case "busy":
      return ableTo(job, workers).slice(0, 10).map(does);
    case "delayed":
      return job.error && !givenBack(job) ? [`the last try failed: ${line(job.error)}`] : [];
    default:
      return [];
  }
}

function online(workers: readonly WorkerInfo[]): WorkerInfo[] {
  return workers.filter((worker) => worker.status !== "offline" && worker.paused === undefined);
}

function ableTo(job: Job, workers: readonly WorkerInfo[]): WorkerInfo[] {
  const labels = job.required_labels;
  return online(workers).filter(
    (worker) => labels.every((label) => worker.labels.includes(label)) && !(worker.exclusive && labels.length === 0),
  );
}

function lacks(labels: readonly string[], worker: WorkerInfo): string {
  const missing = labels.filter((label) => !worker.labels.includes(label));
  return `${clean(worker.worker_id)} (${list(worker.labels) || "no labels"}) lacks ${list(missing)}`;
}

function does(worker: WorkerInfo): string {
  const id = clean(worker.worker_id);
  return worker.current_job === null
    ? `${id} is free, and takes it when it asks next`
    : `${id} runs ${clean(worker.current_job)}`;
}

function startOne(labels: readonly string[]): string {
  return `start one: wfg worker${labels.length === 0 ? "" : ` --labels ${labels.map(clean).join(",")}`}`;
}
