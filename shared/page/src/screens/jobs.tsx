/** The table of jobs: every job is reachable here, also in a run of 10,000. */

import { useEffect, useMemo, useState } from "preact/hooks";
import { Button, Mark, Pager, Pill, SearchField, SearchForm, StatusSelect, Table, useNow } from "../parts.tsx";
import type { Run } from "../run.ts";
import { byName, clean, cut, number } from "../text.ts";
import { duration } from "../time.ts";
import { Labels } from "./lists.tsx";

const PAGE = 100;
/** Needs, and dependents, that are listed for one job. */
const LINKS = 50;

type Column = "order" | "status" | "job" | "worker" | "waited" | "took";
interface Sort {
  by: Column;
  down: boolean;
}

export interface JobsProps {
  run: Run;
  version: number;
  onPick(job: number): void;
  /** Only these jobs; all by default. */
  only?: Int32Array;
}

export function Jobs({ run, version, onPick, only }: JobsProps) {
  const [text, setText] = useState("");
  const [status, setStatus] = useState("");
  const [sort, setSort] = useState<Sort>({ by: "order", down: false });
  const [wanted, setPage] = useState(0);
  const now = useNow(run.counts.running > 0);
  useEffect(() => setPage(0), [text, status, sort]);
  const found = useMemo(
    () => sorted(run, filtered(run, text, status, only), sort, now),
    [run, version, text, status, sort, only],
  );
  const head = (column: Column, text: string) => (
    <Head key={column} column={column} sort={sort} onSort={setSort}>
      {text}
    </Head>
  );
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  const page = Math.min(wanted, pages - 1);
  return (
    <>
      <SearchForm>
        <SearchField
          label="Filter jobs by name, label or worker"
          placeholder="Name, label or worker"
          text={text}
          onText={setText}
        />
        <StatusSelect status={status} onStatus={setStatus} />
        <span role="status" class="muted">
          {number(found.length)} of {number(only?.length ?? run.size)}
        </span>
      </SearchForm>
      <Table
        label="Jobs"
        heads={[
          head("status", "Status"),
          head("job", "Job"),
          "Labels",
          head("worker", "Worker"),
          head("waited", "Waited"),
          head("took", "Took"),
        ]}
      >
        {found.slice(page * PAGE, (page + 1) * PAGE).map((job) => (
          <Row key={job} run={run} job={job} now={now} onPick={onPick} />
        ))}
      </Table>
      {found.length === 0 ? (
        <p class="muted">No job matches.</p>
      ) : (
        <Pager page={page} pages={pages} onPage={setPage} total={found.length} what="job" />
      )}
    </>
  );
}

function Head({
  column,
  sort,
  onSort,
  children,
}: {
  column: Column;
  sort: Sort;
  onSort(sort: Sort): void;
  children: string;
}) {
  const isOn = sort.by === column;
  const next: Sort = !isOn
    ? { by: column, down: false }
    : sort.down
      ? { by: "order", down: false }
      : { by: column, down: true };
  return (
    <th aria-sort={isOn ? (sort.down ? "descending" : "ascending") : undefined}>
      <Button class="link" onClick={() => onSort(next)}>
        {children}
        <span aria-hidden="true">{isOn ? (sort.down ? " ↓" : " ↑") : ""}</span>
      </Button>
    </th>
  );
}

function Row({ run, job, now, onPick }: { run: Run; job: number; now: number; onPick(job: number): void }) {
  const status = run.status(job);
  const [id, name] = run.graph.jobs[job]!;
  const [waited, took] = [run.waited(job, now), run.took(job, now)];
  const attempt = run.attempts[job]!;
  return (
    <tr data-job={job}>
      <td>
        <Pill status={status} />
        {attempt > 0 && <span class="muted small"> attempt {attempt + 1}</span>}
      </td>
      <td>
        <Button class="link" onClick={() => onPick(job)}>
          {clean(id)}
        </Button>
        {name !== null && <span class="muted small"> {clean(cut(name, 100))}</span>}
      </td>
      <td>
        <Labels labels={run.labels(job)} />
      </td>
      <td>{run.workers[job] !== null && clean(run.workers[job]!)}</td>
      <td>
        {waited !== undefined && (
          <>
            <span class="unit">waited</span> {duration(waited)}
          </>
        )}
      </td>
      <td>
        {took !== undefined && (
          <>
            <span class="unit">took</span> {duration(took)}
          </>
        )}
      </td>
    </tr>
  );
}

function filtered(run: Run, text: string, status: string, only: Int32Array | undefined): number[] {
  const wanted = text.trim().toLowerCase();
  const has = (part: string | null | undefined) =>
    part !== null && part !== undefined && part.toLowerCase().includes(wanted);
  const all = only ? [...only] : [...run.graph.jobs.keys()];
  return all.filter((job) => {
    if (status !== "" && run.status(job) !== status) return false;
    const [id, name] = run.graph.jobs[job]!;
    return wanted === "" || has(id) || has(name) || has(run.workers[job]) || run.labels(job).some(has);
  });
}

function sorted(run: Run, jobs: number[], { by, down }: Sort, now: number): number[] {
  if (by === "order") return jobs;
  const text = (a: string, b: string) => byName(a, b);
  const compare: Record<Exclude<Column, "order">, (a: number, b: number) => number> = {
    status: (a, b) => run.codes[a]! - run.codes[b]!,
    job: (a, b) => text(run.jobId(a), run.jobId(b)),
    worker: (a, b) => text(run.workers[a] ?? "\uffff", run.workers[b] ?? "\uffff"),
    waited: (a, b) => (run.waited(a, now) ?? -1) - (run.waited(b, now) ?? -1),
    took: (a, b) => (run.took(a, now) ?? -1) - (run.took(b, now) ?? -1),
  };
  return jobs.sort((a, b) => (down ? -1 : 1) * compare[by](a, b) || a - b);
}

/** Names of jobs as links; of many the first ones. */
export function JobLinks({ run, jobs, onPick }: { run: Run; jobs: ArrayLike<number>; onPick(job: number): void }) {
  const shown = Array.from(jobs).slice(0, LINKS);
  if (jobs.length === 0) return <span class="muted">nothing</span>;
  return (
    <ul class="inline">
      {shown.map((job) => (
        <li key={job}>
          <Mark status={run.status(job)} />{" "}
          <Button class="link" onClick={() => onPick(job)}>
            {clean(run.jobId(job))}
          </Button>
          <span class="sr">, {run.status(job)}</span>
        </li>
      ))}
      {jobs.length > LINKS && <li>and {number(jobs.length - LINKS)} more</li>}
    </ul>
  );
}
