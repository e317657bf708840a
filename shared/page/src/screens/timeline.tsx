/** When each attempt waited and ran, and the critical path. */

import { useEffect, useMemo, useState } from "preact/hooks";
import { type Attempt, type Job, type Status, paths } from "../api.ts";
import { client } from "../context.ts";
import { Button, Pager, Table, useNow } from "../parts.tsx";
import type { Run } from "../run.ts";
import { clean } from "../text.ts";
import { about, duration } from "../time.ts";

const PAGE = 50;

interface Bar {
  kind: "wait" | Status;
  from: number;
  to: number;
}

export function Timeline({ run, version, onPick }: { run: Run; version: number; onPick(job: number): void }) {
  const [wanted, setPage] = useState(0);
  const now = useNow(run.counts.running > 0);
  const critical = useMemo(() => new Set(run.criticalPath()), [run, version]);
  const begun = useMemo(
    () =>
      [...run.graph.jobs.keys()]
        .filter((job) => !Number.isNaN(run.ready[job]!) || !Number.isNaN(run.started[job]!))
        .sort((a, b) => firstTime(run, a) - firstTime(run, b) || a - b),
    [run, version],
  );
  const pages = Math.max(1, Math.ceil(begun.length / PAGE));
  const page = Math.min(wanted, pages - 1);
  const rows = begun.slice(page * PAGE, (page + 1) * PAGE);
  const earlier = useEarlier(run, rows);
  if (begun.length === 0) return <p class="notice">No job has been ready yet.</p>;
  const start = run.facts.started ?? Math.min(...rows.map((job) => firstTime(run, job)));
  const end = run.facts.finished ?? now;
  const scale = (ms: number) => `${Math.min(100, Math.max(0, ((ms - start) / Math.max(1, end - start)) * 100))}%`;
  return (
    <>
      <p class="muted small">Thin: waits. Thick: runs. Framed: critical path so far.</p>
      <Table
        label="Timeline"
        kind="timeline"
        heads={[
          "Job",
          "Waited",
          "Ran",
          <th key="bar" class="wide">
            0 s to {about(end - start)}
          </th>,
        ]}
      >
        {rows.map((job) => {
          const bars = barsOf(run, job, now, earlier.get(job) ?? []);
          const [waited, took] = [run.waited(job, now), run.took(job, now)];
          const attempt = run.attempts[job]!;
          return (
            <tr key={job} class={critical.has(job) ? "critical" : ""}>
              <th scope="row">
                <Button class="link" onClick={() => onPick(job)}>
                  {clean(run.jobId(job))}
                </Button>
                {critical.has(job) && <span class="sr">, on the critical path</span>}
                {attempt > 0 && <span class="muted small"> attempt {attempt + 1}</span>}
              </th>
              <td>{waited !== undefined && duration(waited)}</td>
              <td>{took !== undefined && duration(took)}</td>
              <td class="wide" aria-hidden="true">
                <span class="track">
                  {bars.map((bar, i) => (
                    <i
                      key={i}
                      class={bar.kind}
                      style={{ left: scale(bar.from), right: `calc(100% - ${scale(bar.to)})` }}
                    />
                  ))}
                </span>
              </td>
            </tr>
          );
        })}
      </Table>
      <Pager page={page} pages={pages} onPage={setPage} total={begun.length} what="job" />
    </>
  );
}

function firstTime(run: Run, job: number): number {
  const [ready, started] = [run.ready[job]!, run.started[job]!];
  return Number.isNaN(ready) ? started : Number.isNaN(started) ? ready : Math.min(ready, started);
}

function barsOf(run: Run, job: number, now: number, earlier: readonly Attempt[]): Bar[] {
  const bars: Bar[] = [];
  for (const attempt of earlier) {
    if (attempt.started_at !== undefined)
      bars.push({ kind: "failure", from: attempt.started_at, to: attempt.finished_at_ms });
  }
  const waited = run.waited(job, now);
  const ready = run.ready[job]!;
  if (waited !== undefined) bars.push({ kind: "wait", from: ready, to: ready + waited });
  const took = run.took(job, now);
  if (took !== undefined) bars.push({ kind: run.status(job), from: run.started[job]!, to: run.started[job]! + took });
  return bars;
}

/** The earlier attempts of the jobs of a page: the events have the latest only. Each is read once for each attempt. */
function useEarlier(run: Run, rows: readonly number[]): Map<number, Attempt[]> {
  const [known, setKnown] = useState(new Map<string, Attempt[]>());
  const key = (job: number) => `${run.facts.run}/${job}/${run.attempts[job]}`;
  const missing = rows.filter((job) => run.attempts[job]! > 0 && !known.has(key(job)));
  useEffect(() => {
    if (missing.length === 0) return undefined;
    const stop = new AbortController();
    void (async () => {
      for (const job of missing) {
        const answer = await client
          .json<Job>(paths.job(run.id, run.jobId(job)), { signal: stop.signal })
          .catch(() => undefined);
        if (stop.signal.aborted) return;
        if (!answer) continue;
        const attempts = (answer.value.attempts ?? []).filter((attempt) => attempt.attempt < run.attempts[job]!);
        setKnown((before) => new Map(before).set(key(job), attempts));
      }
    })();
    return () => stop.abort();
  }, [run, missing.map(key).join()]);
  return new Map(rows.map((job) => [job, known.get(key(job)) ?? []]));
}
