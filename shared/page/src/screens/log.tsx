/** A log with its tools: search, follow, pause, wrap, times, download. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type LogChunk, paths } from "../api.ts";
import { client, zone } from "../context.ts";
import { LogView, type LogViewState } from "../log-view.ts";
import { Button, ErrorLine, Failed, SearchField, save } from "../parts.tsx";
import { format } from "../route.ts";
import { useStore } from "../store.ts";
import { clean, count, cut, number } from "../text.ts";
import { clock } from "../time.ts";
import { LogWatch } from "../watch-log.ts";
import type { RunRoute } from "./run.tsx";

const SHOWN_LINKS = 100;
/** The pause after a key before the log is searched, in milliseconds. */
const TYPING = 150;

export interface LogProps {
  run: string;
  job: string;
  attempt: number;
  route: RunRoute;
}

export function LogPanel({ run, job, attempt, route }: LogProps) {
  const watch = useMemo(() => new LogWatch(run, job, attempt), [run, job, attempt]);
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<LogView | null>(null);
  const search = useRef<HTMLInputElement>(null);
  const here = useRef(route);
  here.current = route;
  const [state, setState] = useState<LogViewState>({ following: true, paused: false, held: 0, matches: 0, match: 0 });
  const [text, setText] = useState("");
  const [wrap, setWrap] = useState(false);
  const [times, setTimes] = useState(false);
  const chosen = useStore(zone);
  const { kind, error } = useStore(watch.state);
  const lines = watch.log.lines;

  useEffect(() => () => watch.stop(), [watch]);
  useEffect(() => {
    const make = () => {
      view.current?.destroy();
      const made = new LogView(host.current!, watch.log, {
        href: (line) => format({ ...here.current, attempt, line }),
        time: (ms) => clock(ms, zone.value),
        onState: setState,
      });
      watch.onChange = (change) => made.change(change);
      view.current = made;
      made.wrap(wrap);
      made.times(times);
    };
    make();
    watch.onReset = make;
    return () => view.current?.destroy();
  }, [watch]);
  useEffect(() => view.current?.wrap(wrap), [wrap]);
  useEffect(() => view.current?.times(times), [times, chosen]);
  useEffect(() => {
    if (route.line !== undefined) view.current?.goToLine(route.line);
  }, [watch, route.line]);
  useEffect(() => {
    const timer = setTimeout(() => view.current?.search(text), TYPING);
    return () => clearTimeout(timer);
  }, [text]);

  const key = (event: KeyboardEvent) => {
    if (event.key === "/" && event.target === host.current) {
      event.preventDefault();
      search.current?.focus();
    } else if (event.key === "Enter" && event.target === search.current) {
      event.preventDefault();
      view.current?.next(event.shiftKey ? -1 : 1);
    } else if (event.key === "Escape" && event.target === search.current) {
      setText("");
      host.current?.focus();
    }
  };
  return (
    <section class="log-panel" aria-label={`Log of ${clean(job)}, attempt ${attempt + 1}`} onKeyDown={key}>
      <div class="row tools">
        <h3>Log</h3>
        <SearchField field={search} label="Search the log" placeholder="Search" text={text} onText={setText} />
        {text !== "" && (
          <>
            <span class="muted" role="status">
              {state.matches === 0 ? "none" : `${number(state.match)} of ${number(state.matches)}`}
            </span>
            <Button aria-label="Previous match" onClick={() => view.current?.next(-1)}>
              ↑
            </Button>
            <Button aria-label="Next match" onClick={() => view.current?.next(1)}>
              ↓
            </Button>
          </>
        )}
        <span class="grow" />
        <Button aria-pressed={state.following} onClick={() => view.current?.follow(!state.following)}>
          Follow
        </Button>
        <Button aria-pressed={state.paused} onClick={() => view.current?.pause(!state.paused)}>
          Pause{state.held > 0 ? ` (${number(state.held)} new)` : ""}
        </Button>
        <Button aria-pressed={wrap} onClick={() => setWrap(!wrap)}>
          Wrap
        </Button>
        <Button aria-pressed={times} onClick={() => setTimes(!times)}>
          Times
        </Button>
        <Download run={run} job={job} attempt={attempt} />
      </div>
      <p class="muted small">
        {count(lines, "line")}, {KINDS[kind]}
      </p>
      {error && (
        <Failed error={error}>
          <p />
        </Failed>
      )}
      <div
        class="log"
        ref={host}
        tabIndex={0}
        role="log"
        aria-live="off"
        aria-label={`Lines of the log of ${clean(job)}`}
      />
      <Links watch={watch} />
    </section>
  );
}

const KINDS = { loading: "loading", live: "more may come", ended: "complete", failed: "" };

/** The links of the log, for the keyboard: in the text they can only be clicked. */
function Links({ watch }: { watch: LogWatch }) {
  const links = watch.log.blocks.flatMap((block) =>
    block.links.map((link) => ({ url: link.url, text: block.text.slice(link.start, link.end) })),
  );
  if (links.length === 0) return null;
  return (
    <details>
      <summary>Links in the log ({number(links.length)})</summary>
      <ul>
        {links.slice(0, SHOWN_LINKS).map(({ url, text }, i) => (
          <li key={i}>
            <a href={url} target="_blank" rel="noopener noreferrer">
              {cut(text, 100)}
            </a>{" "}
            <span class="muted small">{clean(cut(url, 200))}</span>
          </li>
        ))}
      </ul>
      {links.length > SHOWN_LINKS && <p class="muted">The first {SHOWN_LINKS} are listed.</p>}
    </details>
  );
}

/** Reads the whole log, also what the page doesn't keep, and saves it. */
function Download({ run, job, attempt }: { run: string; job: string; attempt: number }) {
  const [isReading, setReading] = useState(false);
  const [error, setError] = useState<Error>();
  const read = async () => {
    setReading(true);
    setError(undefined);
    try {
      const parts: string[] = [];
      let next: string | undefined = paths.logs(run, job, attempt);
      while (next !== undefined) {
        const page: { value: LogChunk[]; next: string | undefined } = await client.json<LogChunk[]>(next);
        for (const chunk of page.value)
          parts.push(chunk.data.endsWith("\n") || chunk.data.length >= 16 * 1024 ? chunk.data : `${chunk.data}\n`);
        next = page.next;
      }
      save(`${job}-${attempt + 1}.log`, "text/plain", parts);
    } catch (failure) {
      setError(failure as Error);
    }
    setReading(false);
  };
  return (
    <>
      <Button disabled={isReading} onClick={read}>
        {isReading ? "Reading" : "Download"}
      </Button>
      <ErrorLine error={error} />
    </>
  );
}
