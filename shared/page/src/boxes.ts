/** What the graph shows: a box for each stack, and for each job that is in none. */

import { type Graph, STATUSES, type Status } from "./api.ts";
import type { Run } from "./run.ts";

export interface Boxes {
  count: number;
  /** The name of each box: a job's id, or the stack's name. */
  names: string[];
  /** The stack of each box; -1: it is one job. */
  stacks: Int32Array;
  /** The jobs of each box. */
  members: Int32Array[];
  /** The box of each job. */
  ofJob: Int32Array;
  /** Pairs of boxes: one that is needed, and one that needs it. */
  edges: Int32Array;
}

/** The boxes of a graph, in the order of their first jobs. */
export function boxesOf(graph: Graph): Boxes {
  const ofJob = new Int32Array(graph.jobs.length);
  const names: string[] = [];
  const stacks: number[] = [];
  const members: number[][] = [];
  const ofStack = new Map<number, number>();
  graph.jobs.forEach(([id, , , , stack], job) => {
    let box = stack === null ? undefined : ofStack.get(stack);
    if (box === undefined) {
      box = names.length;
      names.push(stack === null ? id : (graph.stacks[stack] ?? id));
      stacks.push(stack ?? -1);
      members.push([]);
      if (stack !== null) ofStack.set(stack, box);
    }
    members[box]!.push(job);
    ofJob[job] = box;
  });
  return {
    count: names.length,
    names,
    stacks: Int32Array.from(stacks),
    members: members.map((jobs) => Int32Array.from(jobs)),
    ofJob,
    edges: edgesOf(graph, ofJob),
  };
}

function edgesOf(graph: Graph, ofJob: Int32Array): Int32Array {
  const seen = new Set<number>();
  const edges: number[] = [];
  const boxes = ofJob.length + 1;
  graph.jobs.forEach(([, , needs], job) => {
    for (const need of needs) {
      const [from, to] = [ofJob[need]!, ofJob[job]!];
      const key = from * boxes + to;
      if (from === to || seen.has(key)) continue;
      seen.add(key);
      edges.push(from, to);
    }
  });
  return Int32Array.from(edges);
}

/** The number of a box's jobs with each status. */
export function countsOf(boxes: Boxes, box: number, run: Run): Record<Status, number> {
  const counts = { failure: 0, running: 0, queued: 0, cancelled: 0, skipped: 0, success: 0 };
  for (const job of boxes.members[box]!) counts[run.status(job)]++;
  return counts;
}

/** The most urgent status among a box's jobs, as its place in `STATUSES`. */
export function worstOf(boxes: Boxes, box: number, run: Run): number {
  let worst = STATUSES.length - 1;
  for (const job of boxes.members[box]!) {
    if (run.codes[job]! < worst) worst = run.codes[job]!;
    if (worst === 0) break;
  }
  return worst;
}

/** What a box needs, directly or not, and what needs it; the box itself among them. */
export function related(boxes: Boxes, box: number): Uint8Array {
  const found = new Uint8Array(boxes.count);
  for (const side of [0, 1] as const) {
    const next: number[][] = Array.from({ length: boxes.count }, () => []);
    for (let e = 0; e < boxes.edges.length; e += 2) next[boxes.edges[e + side]!]!.push(boxes.edges[e + 1 - side]!);
    const stack = [box];
    const seen = new Uint8Array(boxes.count);
    seen[box] = 1;
    while (stack.length > 0) {
      const at = stack.pop()!;
      found[at] = 1;
      for (const other of next[at]!) {
        if (seen[other]) continue;
        seen[other] = 1;
        stack.push(other);
      }
    }
  }
  return found;
}
