/** Lists: workers, pools, and what the screen of forges uses. */

import type { ComponentChildren, VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type PoolInfo, type WorkerInfo, paths } from "../api.ts";
import { client, setTitle } from "../context.ts";
import { Button, Failed, Pager, Since, Table, Time, usePoll } from "../parts.tsx";
import { byName, clean, number } from "../text.ts";
import { about } from "../time.ts";

const REFRESH = 5000;
const PAGE = 100;
/** Entries that are read. With more, the list says so. */
const MOST = 10_000;

interface List<T> {
  entries: T[] | undefined;
  /** There are more entries. */
  isCut: boolean;
  error: Error | undefined;
  /** Reads twice as many from now on. */
  more(): void;
}

/** Reads a list again and again: all its pages, or as many as have `first` entries. */
export function useList<T>(path: string, first = MOST): List<T> {
  const [most, setMost] = useState(first);
  const [state, setState] = useState<{ entries?: T[]; isCut: boolean }>({ isCut: false });
  const error = usePoll(REFRESH, [path, most], async (signal) => {
    const entries: T[] = [];
    let next: string | undefined = path;
    while (next !== undefined && entries.length < most) {
      const page: { value: T[]; next: string | undefined } = await client.json<T[]>(next, { signal });
      entries.push(...page.value);
      next = page.next;
    }
    setState({ entries, isCut: next !== undefined });
  });
  return { entries: state.entries, isCut: state.isCut, error, more: () => setMost(2 * most) };
}

/** A list with its title: its pages, and what is said while it is empty. `row` draws an entry. */
export function ListScreen<T>(props: {
  title: string;
  what: string;
  list: List<T>;
  heads: string[];
  /** Absent: as the server gives them. */
  order?(a: T, b: T): number;
  row(entry: T): VNode;
  empty: VNode;
  about?: ComponentChildren;
}) {
  const { entries, isCut, error, more } = props.list;
  const [wanted, setPage] = useState(0);
  useEffect(() => setTitle(props.title), []);
  const all = [...(entries ?? [])];
  if (props.order) all.sort(props.order);
  const pages = Math.max(1, Math.ceil(all.length / PAGE));
  const page = Math.min(wanted, pages - 1);
  return (
    <>
      <h1>{props.title}</h1>
      {props.about}
      {error && <Failed error={error} />}
      {!entries && !error && (
        <p class="muted" role="status">
          Loading
        </p>
      )}
      {entries && all.length === 0 && <div class="notice">{props.empty}</div>}
      {all.length > 0 && (
        <>
          <Table label={props.title} heads={props.heads}>
            {all.slice(page * PAGE, (page + 1) * PAGE).map(props.row)}
          </Table>
          <Pager page={page} pages={pages} onPage={setPage} total={all.length} what={props.what} />
        </>
      )}
      {isCut && (
        <p class="muted">
          The first {number(all.length)} are shown. <Button onClick={more}>Show more</Button>
        </p>
      )}
    </>
  );
}

export function Labels({ labels }: { labels: readonly string[] }) {
  return (
    <>
      {labels.map((label) => (
        <span key={label} class="label">
          {clean(label)}
        </span>
      ))}
    </>
  );
}

const WORKER_MARKS = { idle: "○", busy: "●", offline: "–" };
const WORKER_ORDER = { busy: 0, idle: 1, offline: 2 };

export function Workers() {
  return (
    <ListScreen<WorkerInfo>
      title="Workers"
      what="worker"
      list={useList(paths.workers)}
      heads={["Worker", "Status", "Labels", "Runs", "Last seen"]}
      order={(a, b) => WORKER_ORDER[a.status] - WORKER_ORDER[b.status] || byName(a.worker_id, b.worker_id)}
      empty={
        <>
          <h2>No worker</h2>
          <p>
            Start one with <code>wfg worker</code>.
          </p>
        </>
      }
      row={(worker) => (
        <tr key={worker.worker_id}>
          <th scope="row">{clean(worker.worker_id)}</th>
          <td>
            <span aria-hidden="true">{WORKER_MARKS[worker.status]}</span> {worker.status}
            {worker.paused !== undefined && (
              <>
                <br />
                <span class="small">paused: {clean(worker.paused)}</span>
              </>
            )}
          </td>
          <td>
            <Labels labels={worker.labels} />
            {worker.exclusive && <span class="muted small"> exclusive</span>}
          </td>
          <td>{worker.current_job === null ? <span class="muted">nothing</span> : clean(worker.current_job)}</td>
          <td>
            <Since ms={worker.last_heartbeat_ms} live={true} /> ago{" "}
            <span class="muted small">
              (<Time ms={worker.last_heartbeat_ms} />)
            </span>
          </td>
        </tr>
      )}
    />
  );
}

export function Pools() {
  return (
    <ListScreen<PoolInfo>
      title="Pools"
      what="pool"
      list={useList(paths.pools)}
      about={<p class="muted">A pool is the jobs that require the same labels and secrets.</p>}
      heads={["Labels", "Secrets", "Waiting", "Longest wait", "Running", "Workers online"]}
      order={(a, b) => b.waiting - a.waiting || b.running - a.running || byName(a.labels.join(), b.labels.join())}
      empty={
        <>
          <h2>No pool</h2>
          <p>A pool is listed while a job of it is ready, and for an hour after.</p>
        </>
      }
      row={(pool) => (
        <tr key={`${pool.labels.join()}|${pool.secrets?.join()}`}>
          <th scope="row">
            {pool.labels.length === 0 ? <span class="muted">no label</span> : <Labels labels={pool.labels} />}
          </th>
          <td>{pool.secrets?.map(clean).join(", ")}</td>
          <td>
            {number(pool.waiting)}
            {pool.waiting_is_capped ? " or more" : ""} <span class="unit">waiting</span>
          </td>
          <td>
            {pool.oldest_ms === null ? (
              ""
            ) : (
              <>
                {about(pool.oldest_ms)} <span class="unit">longest wait</span>
              </>
            )}
          </td>
          <td>
            {number(pool.running)} <span class="unit">running</span>
          </td>
          <td>
            {number(pool.workers_online)} <span class="unit">workers online</span>
            {pool.workers_online === 0 && pool.waiting > 0 && <span class="warn"> no worker has these labels</span>}
          </td>
        </tr>
      )}
    />
  );
}
