/** A run as the page knows it: its graph, and the state of each job. */

import { type Graph, type JobState, STATUSES, type SnapshotEvent, type Status } from "./api.ts";

/** The facts of a run that aren't about one job. */
export interface RunFacts {
  name: string;
  run: number;
  status: Status;
  created: number;
  started: number | null;
  finished: number | null;
}

const CODE = new Map(STATUSES.map((status, code) => [status, code]));

export class Run {
  readonly id: string;
  readonly graph: Graph;
  facts: RunFacts;
  /** The status of each job, as its place in `STATUSES`. */
  readonly codes: Uint8Array;
  readonly attempts: Int32Array;
  /** Times in milliseconds since 1970; NaN if there is none. */
  readonly ready: Float64Array;
  readonly started: Float64Array;
  readonly finished: Float64Array;
  readonly workers: (string | null)[];
  /** The number of jobs with each status. */
  readonly counts: Record<Status, number>;
  #index: Map<string, number> | undefined;
  #dependents: Int32Array[] | undefined;

  constructor(id: string, graph: Graph) {
    const jobs = graph.jobs.length;
    this.id = id;
    this.graph = graph;
    this.facts = { name: id, run: graph.run, status: "queued", created: NaN, started: null, finished: null };
    this.codes = new Uint8Array(jobs).fill(CODE.get("queued")!);
    this.attempts = new Int32Array(jobs);
    this.ready = new Float64Array(jobs).fill(NaN);
    this.started = new Float64Array(jobs).fill(NaN);
    this.finished = new Float64Array(jobs).fill(NaN);
    this.workers = new Array<string | null>(jobs).fill(null);
    this.counts = { failure: 0, running: 0, queued: jobs, cancelled: 0, skipped: 0, success: 0 };
  }

  get size(): number {
    return this.graph.jobs.length;
  }

  status(job: number): Status {
    return STATUSES[this.codes[job]!]!;
  }

  jobId(job: number): string {
    return this.graph.jobs[job]![0];
  }

  needs(job: number): number[] {
    return this.graph.jobs[job]![2];
  }

  labels(job: number): string[] {
    return this.graph.labels[this.graph.jobs[job]![3]] ?? [];
  }

  /** The index of a job; none if the run has no such job. */
  indexOf(id: string): number | undefined {
    this.#index ??= new Map(this.graph.jobs.map(([job], index) => [job, index]));
    return this.#index.get(id);
  }

  /** The jobs that need a job. */
  dependents(job: number): Int32Array {
    if (!this.#dependents) {
      const all: number[][] = this.graph.jobs.map(() => []);
      this.graph.jobs.forEach(([, , needs], index) => needs.forEach((need) => all[need]!.push(index)));
      this.#dependents = all.map((list) => Int32Array.from(list));
    }
    return this.#dependents[job]!;
  }

  /** The number of jobs whose status is final. */
  get done(): number {
    return this.size - this.counts.queued - this.counts.running;
  }

  snapshot(event: SnapshotEvent): void {
    this.facts = {
      name: event.name ?? this.id,
      run: event.run ?? this.graph.run,
      status: event.status,
      created: event.created_at_ms ?? NaN,
      started: event.started_at_ms ?? null,
      finished: event.finished_at_ms ?? null,
    };
    this.apply(event.jobs);
  }

  setStatus(status: Status, finished?: number | null): void {
    this.facts = { ...this.facts, status, finished: finished ?? this.facts.finished };
  }

  apply(states: readonly JobState[]): void {
    for (const [job, status, attempt, ready, started, finished, worker] of states) {
      const code = CODE.get(status);
      if (job >= this.size || code === undefined) continue;
      this.counts[this.status(job)]--;
      this.counts[status]++;
      this.codes[job] = code;
      this.attempts[job] = attempt;
      this.ready[job] = ready ?? NaN;
      this.started[job] = started ?? NaN;
      this.finished[job] = finished ?? NaN;
      this.workers[job] = worker;
      if (started !== null && this.facts.started === null) this.facts = { ...this.facts, started };
    }
  }

  /** How long a job waited for a worker, in milliseconds; `undefined` if it was never ready. */
  waited(job: number, now: number): number | undefined {
    const ready = this.ready[job]!;
    if (Number.isNaN(ready)) return undefined;
    const until = this.started[job]!;
    const status = this.status(job);
    if (!Number.isNaN(until) && until >= ready) return until - ready;
    if (status === "queued") return Math.max(0, now - ready);
    return Number.isNaN(this.finished[job]!) ? undefined : Math.max(0, this.finished[job]! - ready);
  }

  /** How long a job's latest attempt took, or has taken so far, in milliseconds; `undefined` if none was started. */
  took(job: number, now: number): number | undefined {
    const started = this.started[job]!;
    const status = this.status(job);
    if (Number.isNaN(started) || status === "queued") return undefined;
    const end = status === "running" ? now : this.finished[job]!;
    return Number.isNaN(end) ? undefined : Math.max(0, end - started);
  }

  /**
   * The critical path so far: the job that ended last, or that has run the longest of those that run; then, back from it, of each job's
   * needs the one that ended last.
   */
  criticalPath(): number[] {
    const end = (job: number) => (this.status(job) === "running" ? Infinity : this.finished[job]!);
    let last = -1;
    for (let job = 0; job < this.size; job++) {
      if (Number.isNaN(this.started[job]!) || this.status(job) === "queued" || Number.isNaN(end(job))) continue;
      const later = last < 0 || end(job) > end(last);
      if (later || (end(job) === end(last) && this.started[job]! < this.started[last]!)) last = job;
    }
    const path: number[] = [];
    while (last >= 0) {
      path.push(last);
      let before = -1;
      for (const need of this.needs(last)) {
        if (!Number.isNaN(end(need)) && (before < 0 || end(need) > end(before))) before = need;
      }
      last = before;
    }
    return path.reverse();
  }

  /** The first job that failed; else the first that runs. */
  firstOfInterest(): number | undefined {
    for (const status of ["failure", "running"] as const) {
      if (this.counts[status] > 0) return this.codes.indexOf(CODE.get(status)!);
    }
    return undefined;
  }
}
