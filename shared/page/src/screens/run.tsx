/** A run: its state, its buttons, and its jobs as a graph, a table or a timeline, with the chosen job beside them. */

import { useEffect, useMemo, useState } from "preact/hooks";
import { type Status, isFinal, paths } from "../api.ts";
import { boxesOf } from "../boxes.ts";
import { announce, client, go, may, setTitle } from "../context.ts";
import { MARKS } from "../marks.ts";
import { Button, Confirm, Counts, ErrorLine, Failed, Pill, Since, Time } from "../parts.tsx";
import type { Route, Tab } from "../route.ts";
import type { Run } from "../run.ts";
import { useStore } from "../store.ts";
import { clean, count, cut, number } from "../text.ts";
import { duration } from "../time.ts";
import { RunWatch } from "../watch-run.ts";
import { Graph } from "./graph.tsx";
import { JobPanel } from "./job.tsx";
import { Jobs } from "./jobs.tsx";
import { StackPanel } from "./stack.tsx";
import { Timeline } from "./timeline.tsx";

export type RunRoute = Extract<Route, { screen: "run" }>;

const ICONS: Record<Status, string> = {
  failure: "#c8202c",
  running: "#b07800",
  queued: "#6e7781",
  cancelled: "#6e7781",
  skipped: "#6e7781",
  success: "#1f883d",
};

export function RunScreen({ route }: { route: RunRoute }) {
  const watch = useMemo(() => new RunWatch(route.id), [route.id]);
  useEffect(() => () => watch.stop(), [watch]);
  const watched = useStore(watch.state);
  const how = useStore(watch.how);
  useEffect(() => setTitle(route.id), [route.id]);
  if (watched.kind === "failed") return <Failed error={watched.error} />;
  if (watched.kind === "loading")
    return (
      <p class="muted" role="status">
        Loading
      </p>
    );
  return <Loaded route={route} watch={watch} run={watched.run} version={watched.version} how={how} />;
}

const HOW = { stream: "live", poll: "asked every few seconds", ended: "" };

function Loaded({
  route,
  watch,
  run,
  version,
  how,
}: {
  route: RunRoute;
  watch: RunWatch;
  run: Run;
  version: number;
  how: "stream" | "poll" | "ended";
}) {
  const { facts } = run;
  const name = clean(cut(facts.name, 200));
  useEffect(() => {
    setTitle(`${MARKS[facts.status]} ${name} #${facts.run}`, ICONS[facts.status]);
    announce(
      `${name}: ${facts.status}, ${number(run.done)} of ${count(run.size, "job")} done, ${number(run.counts.failure)} failed`,
    );
  }, [version]);
  const boxes = useMemo(() => boxesOf(run.graph), [run.graph]);
  const narrow = useNarrow();
  const tab = route.tab ?? (narrow ? "jobs" : "graph");
  const job = route.job === undefined ? undefined : run.indexOf(route.job);
  const stack =
    route.stack === undefined
      ? undefined
      : boxes.names.findIndex((each, box) => each === route.stack && boxes.stacks[box]! >= 0);
  const hasPanel = route.job !== undefined || (stack !== undefined && stack >= 0);
  const isFull = route.full === true || (narrow && hasPanel);
  const bare = { screen: "run", id: route.id, ...(route.tab ? { tab: route.tab } : {}) } as const;
  const pick = (index: number) => go({ ...bare, job: run.jobId(index) });
  const panel =
    route.job !== undefined && job === undefined ? (
      <aside class="panel">
        <Failed error={new Error(`workflow \`${run.id}\` has no job \`${clean(cut(route.job, 200))}\``)}>
          <p>
            <a href={`#/runs/${encodeURIComponent(run.id)}`}>The run</a>
          </p>
        </Failed>
      </aside>
    ) : job !== undefined ? (
      <JobPanel
        key={`${run.id}/${run.jobId(job)}`}
        run={run}
        version={version}
        job={job}
        route={route}
        isFull={isFull}
        onClose={() => go(bare)}
      />
    ) : stack !== undefined && stack >= 0 ? (
      <StackPanel
        key={route.stack}
        run={run}
        version={version}
        boxes={boxes}
        box={stack}
        onPick={pick}
        onClose={() => go(bare)}
      />
    ) : undefined;
  return (
    <>
      <div class="head">
        <div>
          <h1>
            {name} <span class="muted">#{facts.run}</span> <Pill status={facts.status} />
          </h1>
          <p class="muted">
            <Timing run={run} />, {count(run.size, "job")}
            {HOW[how] !== "" && (
              <>
                {" "}
                · <span class={how === "stream" ? "live" : ""}>{HOW[how]}</span>
              </>
            )}
          </p>
        </div>
        {may("submit") && <Actions run={run} watch={watch} />}
      </div>
      <Counts counts={run.counts} />
      {!isFull && (
        <Tabs
          tab={tab}
          narrow={narrow}
          onTab={(next) =>
            go(
              {
                ...bare,
                tab: next,
                ...(route.job ? { job: route.job } : {}),
                ...(route.stack ? { stack: route.stack } : {}),
              },
              true,
            )
          }
        />
      )}
      <div class={`split ${hasPanel && !isFull ? "two" : ""}`}>
        {!isFull && (
          <section id="panel" class="main-pane" role="tabpanel" aria-labelledby={`tab-${tab}`}>
            {tab === "graph" && (
              <Graph
                run={run}
                version={version}
                boxes={boxes}
                picked={job !== undefined ? boxes.ofJob[job] : stack}
                onPick={(box) => {
                  if (boxes.stacks[box]! >= 0) go({ ...bare, stack: boxes.names[box]! });
                  else pick(boxes.members[box]![0]!);
                }}
              />
            )}
            {tab === "jobs" && <Jobs run={run} version={version} onPick={pick} />}
            {tab === "timeline" && <Timeline run={run} version={version} onPick={pick} />}
          </section>
        )}
        {panel}
      </div>
    </>
  );
}

/** Whether the window has room for one column only. */
function useNarrow(): boolean {
  const query = useMemo(() => matchMedia("(max-width: 800px)"), []);
  const [narrow, setNarrow] = useState(query.matches);
  useEffect(() => {
    const change = () => setNarrow(query.matches);
    query.addEventListener("change", change);
    return () => query.removeEventListener("change", change);
  }, [query]);
  return narrow;
}

function Timing({ run }: { run: Run }) {
  const { started, finished, created, status } = run.facts;
  if (started === null)
    return (
      <>
        submitted <Time ms={created} />, not started
      </>
    );
  if (finished !== null && isFinal(status))
    return (
      <>
        started <Time ms={started} />, took {duration(finished - started)}
      </>
    );
  return (
    <>
      started <Time ms={started} />, for <Since ms={started} live={!isFinal(status)} />
    </>
  );
}

const TABS: readonly Tab[] = ["graph", "jobs", "timeline"];
const NARROW_TABS: readonly Tab[] = ["jobs", "graph", "timeline"];

function Tabs({ tab, narrow, onTab }: { tab: Tab; narrow: boolean; onTab(tab: Tab): void }) {
  const tabs = narrow ? NARROW_TABS : TABS;
  const key = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length]!;
    onTab(next);
    document.getElementById(`tab-${next}`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label="Views of the run" onKeyDown={key}>
      {tabs.map((each) => (
        <button
          key={each}
          type="button"
          role="tab"
          id={`tab-${each}`}
          aria-controls="panel"
          aria-selected={each === tab}
          tabIndex={each === tab ? 0 : -1}
          onClick={() => onTab(each)}
        >
          {each[0]!.toUpperCase() + each.slice(1)}
        </button>
      ))}
    </div>
  );
}

/** The buttons that change the run: each is there only while it makes sense. */
function Actions({ run, watch }: { run: Run; watch: RunWatch }) {
  const [asking, setAsking] = useState(false);
  const [sent, setSent] = useState("");
  const [error, setError] = useState<Error>();
  const { status, run: nth } = run.facts;
  // What was sent is shown until the run's state shows it.
  useEffect(() => setSent(""), [status, nth]);
  const send = async (what: string, path: string, body?: object) => {
    setAsking(false);
    setError(undefined);
    setSent(what);
    try {
      await client.post(path, body);
      watch.again();
    } catch (failure) {
      setError(failure as Error);
      setSent("");
    }
  };
  const hasFailed = run.counts.failure + run.counts.skipped + run.counts.cancelled > 0;
  return (
    <div class="actions">
      <div class="row">
        {sent !== "" && <span role="status">{sent}</span>}
        {status === "queued" && (
          <Button class="primary" disabled={sent !== ""} onClick={() => send("Starting", paths.run(run.id))}>
            Start
          </Button>
        )}
        {isFinal(status) && hasFailed && (
          <Button disabled={sent !== ""} onClick={() => send("Starting again", paths.run(run.id), { only: "failed" })}>
            Re-run failed
          </Button>
        )}
        {isFinal(status) && (
          <Button disabled={sent !== ""} onClick={() => send("Starting again", paths.run(run.id))}>
            Re-run
          </Button>
        )}
        {status === "running" && (
          <Button class="danger" disabled={sent !== ""} onClick={() => setAsking(true)}>
            Cancel
          </Button>
        )}
      </div>
      <ErrorLine error={error} />
      {asking && (
        <Confirm
          title={`Cancel ${clean(cut(run.facts.name, 100))} #${nth}?`}
          yes="Cancel the run"
          no="Keep it running"
          onYes={() => send("Cancelling", paths.cancel(run.id))}
          onNo={() => setAsking(false)}
        >
          <p>
            {count(run.size - run.done, "job")} will not be finished, {number(run.counts.running)} of them running now.
          </p>
        </Confirm>
      )}
    </div>
  );
}
