/** Workers and pools. */

import { useEffect, useState } from "preact/hooks";
import { type PoolInfo, type WorkerInfo, paths } from "../api.ts";
import { client, poll, setTitle } from "../context.ts";
import { Failed, Pager, Since, Time } from "../parts.tsx";
import { byName, clean, number } from "../text.ts";
import { about } from "../time.ts";

const REFRESH = 5000;
const PAGE = 100;
/** Entries that are read. With more, the list says so. */
const MOST = 10_000;

interface Listed<T> {
  entries: T[] | undefined;
  isCut: boolean;
  error: Error | undefined;
}

/** Reads a list of all its pages, again and again. */
function useList<T>(path: string): Listed<T> {
  const [state, setState] = useState<Listed<T>>({ entries: undefined, isCut: false, error: undefined });
  useEffect(() => {
    const stop = new AbortController();
    poll(REFRESH, stop.signal, async (signal) => {
      const entries: T[] = [];
      let next: string | undefined = path;
      while (next !== undefined && entries.length < MOST) {
        const page: { value: T[]; next: string | undefined } = await client.json<T[]>(next, { signal });
        entries.push(...page.value);
        next = page.next;
      }
      setState({ entries, isCut: next !== undefined, error: undefined });
    }).catch((error: unknown) => {
      if (!stop.signal.aborted) setState((before) => ({ ...before, error: error as Error }));
    });
    return () => stop.abort();
  }, [path]);
  return state;
}

function usePages<T>(entries: T[]): { shown: T[]; page: number; pages: number; setPage(page: number): void } {
  const [wanted, setPage] = useState(0);
  const pages = Math.max(1, Math.ceil(entries.length / PAGE));
  const page = Math.min(wanted, pages - 1);
  return { shown: entries.slice(page * PAGE, (page + 1) * PAGE), page, pages, setPage };
}

export function Labels({ labels }: { labels: readonly string[] }) {
  return <>{labels.map((label) => <span key={label} class="label">{clean(label)}</span>)}</>;
}

const WORKER_MARKS = { idle: "○", busy: "●", offline: "–" };

export function Workers() {
  const { entries, isCut, error } = useList<WorkerInfo>(paths.workers);
  const order = { busy: 0, idle: 1, offline: 2 };
  const sorted = [...(entries ?? [])].sort((a, b) => order[a.status] - order[b.status] || byName(a.worker_id, b.worker_id));
  const { shown, page, pages, setPage } = usePages(sorted);
  useEffect(() => setTitle("Workers"), []);
  return (
    <>
      <h1>Workers</h1>
      {error && <Failed error={error} />}
      {!entries && !error && <p class="muted" role="status">Loading</p>}
      {entries?.length === 0 && <div class="notice"><h2>No worker</h2><p>Start one with <code>wfg worker</code>. A worker is listed for a day after it was last seen.</p></div>}
      {shown.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label="Workers">
          <table class="cards">
            <thead><tr><th>Worker</th><th>Status</th><th>Labels</th><th>Runs</th><th>Last seen</th></tr></thead>
            <tbody>
              {shown.map((worker) => (
                <tr key={worker.worker_id}>
                  <th scope="row">{clean(worker.worker_id)}</th>
                  <td>
                    <span aria-hidden="true">{WORKER_MARKS[worker.status]}</span> {worker.status}
                    {worker.paused !== undefined && <><br /><span class="small">paused: {clean(worker.paused)}</span></>}
                  </td>
                  <td><Labels labels={worker.labels} />{worker.exclusive && <span class="muted small"> exclusive</span>}</td>
                  <td>{worker.current_job === null ? <span class="muted">nothing</span> : clean(worker.current_job)}</td>
                  <td><Since ms={worker.last_heartbeat_ms} live={true} /> ago <span class="muted small">(<Time ms={worker.last_heartbeat_ms} />)</span></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {entries && entries.length > 0 && <Pager page={page} pages={pages} onPage={setPage} total={entries.length} what="worker" />}
      {isCut && <p class="muted">The first {number(MOST)} are shown.</p>}
    </>
  );
}

export function Pools() {
  const { entries, isCut, error } = useList<PoolInfo>(paths.pools);
  const sorted = [...(entries ?? [])].sort((a, b) => b.waiting - a.waiting || b.running - a.running || byName(a.labels.join(), b.labels.join()));
  const { shown, page, pages, setPage } = usePages(sorted);
  useEffect(() => setTitle("Pools"), []);
  return (
    <>
      <h1>Pools</h1>
      <p class="muted">A pool is the jobs that require the same labels and secrets.</p>
      {error && <Failed error={error} />}
      {!entries && !error && <p class="muted" role="status">Loading</p>}
      {entries?.length === 0 && <div class="notice"><h2>No pool</h2><p>A pool is listed while a job of it is ready, and for an hour after.</p></div>}
      {shown.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label="Pools">
          <table class="cards">
            <thead><tr><th>Labels</th><th>Secrets</th><th>Waiting</th><th>Longest wait</th><th>Running</th><th>Workers online</th></tr></thead>
            <tbody>
              {shown.map((pool) => (
                <tr key={`${pool.labels.join()}|${pool.secrets?.join()}`}>
                  <th scope="row">{pool.labels.length === 0 ? <span class="muted">none</span> : <Labels labels={pool.labels} />}</th>
                  <td>{pool.secrets?.map(clean).join(", ")}</td>
                  <td>{number(pool.waiting)}{pool.waiting_is_capped ? " or more" : ""}</td>
                  <td>{pool.oldest_ms === null ? "" : about(pool.oldest_ms)}</td>
                  <td>{number(pool.running)}</td>
                  <td>
                    {number(pool.workers_online)}
                    {pool.workers_online === 0 && pool.waiting > 0 && <span class="warn"> no worker has these labels</span>}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {entries && entries.length > 0 && <Pager page={page} pages={pages} onPage={setPage} total={entries.length} what="pool" />}
      {isCut && <p class="muted">The first {number(MOST)} are shown.</p>}
    </>
  );
}
