/** Graphs for the tests: chains, fans, a matrix, random ones. The same seed gives the same graph. */

export interface TestJob {
  id: string;
  needs: number[];
  labels: string[];
}

/** A pseudo-random generator (mulberry32): numbers from 0 up to 1. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Chains of equal length, side by side. */
export function chains(lanes: number, length: number): TestJob[] {
  const jobs: TestJob[] = [];
  for (let lane = 0; lane < lanes; lane++) {
    for (let step = 0; step < length; step++) {
      jobs.push({ id: `lane${lane}-step${step}`, needs: step === 0 ? [] : [jobs.length - 1], labels: [] });
    }
  }
  return jobs;
}

/** One job, many that need it, and one that needs all of those. */
export function fan(count: number): TestJob[] {
  const shards = Array.from({ length: count - 2 }, (_, i) => ({ id: `shard-${i}`, needs: [0], labels: ["gpu"] }));
  return [
    { id: "split", needs: [], labels: [] },
    ...shards,
    { id: "merge", needs: shards.map((_, i) => i + 1), labels: [] },
  ];
}

/** Jobs with up to `most` needs among the `within` jobs before them. */
export function irregular(count: number, most = 3, within = 60, seed = count): TestJob[] {
  const next = random(seed);
  return Array.from({ length: count }, (_, i) => {
    const needs = new Set<number>();
    const wanted = i < 8 ? 0 : 1 + Math.floor(next() * most);
    for (let k = 0; k < wanted; k++) needs.add(i - 1 - Math.floor(next() * Math.min(i, within)));
    return { id: `job-${i}`, needs: [...needs].sort((a, b) => a - b), labels: [] };
  });
}

/** Pairs of a needed job and the one that needs it. */
export function edgesOf(jobs: TestJob[]): Int32Array {
  return Int32Array.from(jobs.flatMap((job, i) => job.needs.flatMap((need) => [need, i])));
}
