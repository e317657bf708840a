/** The list of runs, newest first. */

import { useEffect, useRef, useState } from "preact/hooks";
import { type Summary, isFinal, paths } from "../api.ts";
import { client, go, may, setTitle } from "../context.ts";
import { Button, Failed, Pill, SearchField, SearchForm, Since, StatusSelect, Table, Time, usePoll } from "../parts.tsx";
import { clean, count, cut, number } from "../text.ts";
import { duration } from "../time.ts";

const PAGE = 50;
/** Entries that are asked for again. Older ones stay as they were read. */
const MOST_REFRESHED = 200;
const REFRESH = 5000;
/** The pause after a key before the list is asked for. */
const TYPING = 300;

interface Filter {
  status: string;
  text: string;
}

export function Runs({ status, text }: Filter) {
  const { list, more, fresh, error, isLoading, showFresh, loadMore } = useRuns({ status, text });
  useEffect(() => setTitle("Runs"), []);
  const isFiltered = status !== "" || text !== "";
  return (
    <>
      <div class="head">
        <h1>Runs</h1>
        {may("submit") && (
          <a class="button primary" href="#/runs/new">
            New run
          </a>
        )}
      </div>
      <Filters status={status} text={text} />
      {fresh > 0 && (
        <p>
          <Button onClick={showFresh}>Show {count(fresh, "new run")}</Button>
        </p>
      )}
      {error && (
        <Failed error={error}>
          <p>{isFiltered && <a href="#/runs">Without filters</a>}</p>
        </Failed>
      )}
      {list.length > 0 && <List list={list} />}
      {list.length === 0 && !isLoading && !error && !more && <Empty isFiltered={isFiltered} />}
      {isLoading && (
        <p class="muted" role="status">
          Loading
        </p>
      )}
      {more && (
        <p>
          <Button onClick={loadMore}>Older runs</Button>
        </p>
      )}
    </>
  );
}

/** Reads the list and keeps it up to date. New runs wait for a click, so that the list doesn't move under the pointer. */
function useRuns({ status, text }: Filter) {
  const [list, setList] = useState<Summary[]>([]);
  const [latest, setLatest] = useState<Summary[]>([]);
  const [more, setMore] = useState<string>();
  const [olderError, setOlderError] = useState<Error>();
  const [isLoading, setLoading] = useState(true);
  const shown = useRef<Summary[]>([]);
  const path = (limit: number) => {
    const query = new URLSearchParams({ view: "summary", limit: String(limit) });
    if (status !== "") query.set("status", status);
    if (text !== "") query.set("q", text);
    return `${paths.workflows}?${query}`;
  };
  const show = (runs: Summary[]) => {
    shown.current = runs;
    setList(runs);
  };
  useEffect(() => {
    show([]);
    setLatest([]);
    setMore(undefined);
    setOlderError(undefined);
    setLoading(true);
  }, [status, text]);
  const pollError = usePoll(REFRESH, [status, text], async (signal) => {
    const limit = Math.min(MOST_REFRESHED, Math.max(PAGE, shown.current.length));
    const { value, next } = await client.json<Summary[]>(path(limit), { signal });
    const read = new Map(value.map((run) => [run.id, run]));
    if (shown.current.length === 0) {
      show(value);
      setMore(next);
      setLoading(false);
    } else {
      // What is missing among those that were read doesn't match any more, or was deleted.
      const oldest = next === undefined ? -Infinity : (value.at(-1)?.created_at_ms ?? Infinity);
      show(
        shown.current
          .filter((run) => read.has(run.id) || run.created_at_ms < oldest)
          .map((run) => read.get(run.id) ?? run),
      );
    }
    setLatest(value);
  });
  const error = pollError ?? olderError;
  const known = new Set(list.map((run) => run.id));
  const newest = list[0]?.created_at_ms ?? 0;
  const fresh = latest.filter((run) => !known.has(run.id) && run.created_at_ms >= newest);
  const loadMore = async () => {
    if (more === undefined) return;
    try {
      const { value, next } = await client.json<Summary[]>(more);
      const have = new Set(shown.current.map((run) => run.id));
      show([...shown.current, ...value.filter((run) => !have.has(run.id))]);
      setMore(next);
    } catch (failure) {
      setOlderError(failure as Error);
    }
  };
  const showFresh = () => show([...fresh, ...list]);
  return {
    list,
    more,
    fresh: isLoading ? 0 : fresh.length,
    error,
    isLoading: isLoading && !error,
    showFresh,
    loadMore,
  };
}

function Filters({ status, text }: Filter) {
  const [typed, setTyped] = useState(text);
  useEffect(() => setTyped(text), [text]);
  useEffect(() => {
    if (typed === text) return undefined;
    const timer = setTimeout(() => go({ screen: "runs", status, text: typed }, true), TYPING);
    return () => clearTimeout(timer);
  }, [typed]);
  return (
    <SearchForm>
      <SearchField label="Find runs by name or id" placeholder="Name or id" text={typed} onText={setTyped} />
      <StatusSelect status={status} onStatus={(next) => go({ screen: "runs", status: next, text }, true)} />
    </SearchForm>
  );
}

function List({ list }: { list: Summary[] }) {
  return (
    <Table label="Runs" heads={["Status", "Workflow", "Jobs done", "Submitted", "Took"]}>
      {list.map((run) => (
        <tr key={run.id} data-run={run.id}>
          <td>
            <Pill status={run.status} />
          </td>
          <td>
            <a href={`#/runs/${encodeURIComponent(run.id)}`}>{clean(cut(run.name, 200))}</a>{" "}
            <span class="muted">#{run.run}</span>
            <br />
            <span class="muted small">{run.id}</span>
          </td>
          <td>
            {number(run.done)} of {number(run.jobs)}
          </td>
          <td>
            <Time ms={run.created_at_ms} />
          </td>
          <td>
            <Took run={run} />
          </td>
        </tr>
      ))}
    </Table>
  );
}

function Took({ run }: { run: Summary }) {
  if (run.started_at_ms === null) return <span class="muted">not started</span>;
  if (run.finished_at_ms !== null) return <>{duration(run.finished_at_ms - run.started_at_ms)}</>;
  return <Since ms={run.started_at_ms} live={!isFinal(run.status)} />;
}

function Empty({ isFiltered }: { isFiltered: boolean }) {
  if (isFiltered)
    return (
      <p class="notice">
        No run matches. <a href="#/runs">Show all</a>
      </p>
    );
  return (
    <div class="notice">
      <h2>No runs yet</h2>
      <p>
        <code>wfg submit FILE</code> starts one.
      </p>
    </div>
  );
}
