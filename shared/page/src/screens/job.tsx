/** A job: its attempts, why it waits, its outputs and command, and its log. */

import { Fragment } from "preact";
import { useState } from "preact/hooks";
import { type Attempt, type Job, type WorkerInfo, paths } from "../api.ts";
import { client, go } from "../context.ts";
import { Button, ErrorLine, Failed, Mark, Pill, Since, Table, Text, Time, useNow, usePoll } from "../parts.tsx";
import type { Run } from "../run.ts";
import { clean, cleanLines, cut, number } from "../text.ts";
import { duration } from "../time.ts";
import { why } from "../why.ts";
import { JobLinks } from "./jobs.tsx";
import { Labels } from "./lists.tsx";
import { LogPanel } from "./log.tsx";
import type { RunRoute } from "./run.tsx";

/** How often the reason of a wait is asked for, in milliseconds. */
const REFRESH = 5000;
/** Outputs that are listed. */
const OUTPUTS = 200;

export interface JobProps {
  run: Run;
  version: number;
  job: number;
  route: RunRoute;
  isFull: boolean;
  onClose(): void;
}

export function JobPanel({ run, job: index, route, isFull, onClose }: JobProps) {
  const id = run.jobId(index);
  const status = run.status(index);
  const latest = run.attempts[index]!;
  const { job, workers, error } = useJob(run, index);
  const attempt = Math.min(route.attempt ?? latest, latest);
  const here: RunRoute = { screen: "run", id: run.id, job: id, ...(route.tab ? { tab: route.tab } : {}) };
  const pick = (other: number) => go({ ...here, job: run.jobId(other) });
  const hasLog = !Number.isNaN(run.started[index]!) || latest > 0;
  return (
    <aside class={`panel ${isFull ? "full" : ""}`} aria-label={`Job ${clean(id)}`}>
      <header>
        <h2>
          <Mark status={status} /> {clean(id)}
        </h2>
        <div class="row">
          {isFull ? (
            <Button
              onClick={() =>
                route.full
                  ? go({ ...here, ...(route.attempt === undefined ? {} : { attempt: route.attempt }) })
                  : onClose()
              }
            >
              Back to the run
            </Button>
          ) : (
            <Button onClick={() => go({ ...route, full: true })}>Full width</Button>
          )}
          <Button aria-label="Close" onClick={onClose}>
            ✕
          </Button>
        </div>
      </header>
      {error && (
        <Failed error={error}>
          <p />
        </Failed>
      )}
      <dl>
        <dt>Status</dt>
        <dd>
          <Pill status={status} />
          {job?.exit_code !== null && job?.exit_code !== undefined && <> exit code {job.exit_code}</>}
        </dd>
        {job && job.name !== "" && job.name !== id && (
          <>
            <dt>Name</dt>
            <dd>{clean(cut(job.name, 1000))}</dd>
          </>
        )}
        {status === "queued" && job && (
          <>
            <dt>Why it waits</dt>
            <dd>
              <Why job={job} workers={workers} />
            </dd>
          </>
        )}
        {job?.error && status !== "queued" && !job.attempts?.length && (
          <>
            <dt>Error</dt>
            <dd>
              <pre class="text error">{cleanLines(job.error)}</pre>
            </dd>
          </>
        )}
        <dt>Labels</dt>
        <dd>
          {run.labels(index).length === 0 ? (
            <span class="muted">none: any worker</span>
          ) : (
            <Labels labels={run.labels(index)} />
          )}
        </dd>
        {job?.matrix && Object.keys(job.matrix).length > 0 && (
          <>
            <dt>Matrix</dt>
            <dd>
              {Object.entries(job.matrix).map(([axis, value]) => (
                <span key={axis} class="label">
                  {clean(axis)}: {clean(value)}
                </span>
              ))}
            </dd>
          </>
        )}
        {job?.secrets && job.secrets.length > 0 && (
          <>
            <dt>Secrets</dt>
            <dd>{job.secrets.map(clean).join(", ")}</dd>
          </>
        )}
        <dt>Needs</dt>
        <dd>
          <JobLinks run={run} jobs={run.needs(index)} onPick={pick} />
        </dd>
        <dt>Needed by</dt>
        <dd>
          <JobLinks run={run} jobs={run.dependents(index)} onPick={pick} />
        </dd>
      </dl>
      <Attempts
        run={run}
        index={index}
        job={job}
        attempt={attempt}
        onAttempt={(nth) => go({ ...here, attempt: nth, ...(isFull && route.full ? { full: true } : {}) })}
      />
      {job && <Outputs run={run} job={job} />}
      {job?.command && (
        <details>
          <summary>Command</summary>
          <Text text={job.command} />
        </details>
      )}
      {hasLog ? (
        <LogPanel
          key={`${run.id}/${run.facts.run}/${id}/${attempt}`}
          run={run.id}
          job={id}
          attempt={attempt}
          route={route}
        />
      ) : (
        <p class="muted">The job has no log yet.</p>
      )}
    </aside>
  );
}

/** Reads a job, and again when its state changes; while it waits, every few seconds, with the workers. */
function useJob(run: Run, index: number): { job: Job | undefined; workers: WorkerInfo[]; error: Error | undefined } {
  const [job, setJob] = useState<Job>();
  const [workers, setWorkers] = useState<WorkerInfo[]>([]);
  const state = `${run.facts.run}/${run.status(index)}/${run.attempts[index]}/${run.workers[index]}`;
  const error = usePoll(REFRESH, [run.id, index, state], async (signal, end) => {
    const { value } = await client.json<Job>(paths.job(run.id, run.jobId(index)), { signal });
    const reason = value.waiting_for?.reason;
    if (reason !== undefined && reason !== "needs")
      setWorkers((await client.json<WorkerInfo[]>(paths.workers, { signal })).value);
    setJob(value);
    // An answer may be older than the event that led to it.
    if (value.status !== "queued" && value.status === run.status(index)) end();
  });
  return { job, workers, error };
}

function Why({ job, workers }: { job: Job; workers: WorkerInfo[] }) {
  const now = useNow(true);
  const answer = why(job, workers, now);
  if (!answer) return <>The run hasn't been started, or the job is about to be ready.</>;
  return (
    <div class="why">
      <p>{answer.sentence}</p>
      {answer.facts.length > 0 && (
        <ul>
          {answer.facts.map((fact, i) => (
            <li key={i}>{fact}</li>
          ))}
        </ul>
      )}
    </div>
  );
}

const CAUSES = {
  failure: "failed",
  lost: "lost: its worker was not heard of",
  timeout: "timed out",
  queue_timeout: "no worker in time",
  returned: "given back",
};

function Attempts(props: {
  run: Run;
  index: number;
  job: Job | undefined;
  attempt: number;
  onAttempt(attempt: number): void;
}) {
  const { run, index, job, attempt } = props;
  const latest = run.attempts[index]!;
  if (Number.isNaN(run.started[index]!) && latest === 0) return null;
  const failed = new Map((job?.attempts ?? []).map((each) => [each.attempt, each]));
  const rows = [...new Set([...failed.keys(), latest])].sort((a, b) => b - a);
  return (
    <>
      <Table label="Attempts" kind="attempts" heads={["Attempt", "Result", "Worker", "Started", "Took"]}>
        {rows.map((nth) => (
          <AttemptRow key={nth} {...props} nth={nth} failed={failed.get(nth)} isShown={nth === attempt} />
        ))}
      </Table>
      {rows.length <= latest && job && <p class="muted small">Only the latest failed attempts are kept.</p>}
    </>
  );
}

function AttemptRow({
  run,
  index,
  job,
  nth,
  failed,
  isShown,
  onAttempt,
}: {
  run: Run;
  index: number;
  job: Job | undefined;
  nth: number;
  failed: Attempt | undefined;
  isShown: boolean;
  onAttempt(attempt: number): void;
}) {
  const status = run.status(index);
  const started = failed ? failed.started_at : run.started[index]!;
  const isRunning = !failed && status === "running";
  const took = failed
    ? failed.started_at === undefined
      ? undefined
      : failed.finished_at_ms - failed.started_at
    : run.took(index, 0);
  const code = failed ? failed.exit_code : job?.exit_code;
  const worker = failed ? failed.worker_id : run.workers[index];
  return (
    <>
      <tr aria-current={isShown ? "true" : undefined}>
        <td>
          <Button class="link" onClick={() => onAttempt(nth)}>
            {nth + 1}
            <span class="sr">: show its log</span>
          </Button>
        </td>
        <td>
          {failed ? CAUSES[failed.cause] : status}
          {code !== undefined && code !== null && <>, exit code {code}</>}
        </td>
        <td>{worker && clean(worker)}</td>
        <td>
          <Time ms={started} />
        </td>
        <td>
          {isRunning && started !== undefined ? (
            <Since ms={started} live={true} />
          ) : (
            took !== undefined && duration(took)
          )}
        </td>
      </tr>
      {failed && isShown && failed.error !== "" && (
        <tr>
          <td colSpan={5}>
            <pre class="text error">{cleanLines(failed.error)}</pre>
          </td>
        </tr>
      )}
    </>
  );
}

function Outputs({ run, job }: { run: Run; job: Job }) {
  const [all, setAll] = useState<Record<string, string>>();
  const [error, setError] = useState<Error>();
  const outputs = Object.entries(all ?? job.outputs);
  const isPart = job.outputs_truncated && !all;
  if (outputs.length === 0 && !isPart) return null;
  const read = () =>
    client
      .json<Record<string, string>>(paths.outputs(run.id, job.id, job.attempt))
      .then(({ value }) => setAll(value), setError);
  return (
    <details open>
      <summary>Outputs</summary>
      <dl>
        {outputs.slice(0, OUTPUTS).map(([name, value]) => (
          <Fragment key={name}>
            <dt>{clean(name)}</dt>
            <dd>
              <Text text={value} />
            </dd>
          </Fragment>
        ))}
      </dl>
      {outputs.length > OUTPUTS && (
        <p class="muted">
          {number(outputs.length - OUTPUTS)} more: <code>wfg output</code> prints all.
        </p>
      )}
      {isPart && (
        <p>
          Large outputs are left out here. <Button onClick={read}>Show all outputs</Button>
        </p>
      )}
      <ErrorLine error={error} />
    </details>
  );
}
