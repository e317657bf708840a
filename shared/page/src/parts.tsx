/** Small parts that several screens use. */

import type { ButtonHTMLAttributes, ComponentChildren, Ref, VNode } from "preact";
import { useEffect, useReducer, useRef, useState } from "preact/hooks";
import { STATUSES, type Status } from "./api.ts";
import { Refused } from "./client.ts";
import { poll, zone } from "./context.ts";
import { MARKS } from "./marks.ts";
import { Store, useStore } from "./store.ts";
import { clean, cleanLines, count, number, plural } from "./text.ts";
import { about, exact, moment } from "./time.ts";

export function Mark({ status }: { status: Status }) {
  return (
    <span class={`mark ${status}`} aria-hidden="true">
      {MARKS[status]}
    </span>
  );
}

export function Pill({ status, children }: { status: Status; children?: ComponentChildren }) {
  return (
    <span class={`pill ${status}`}>
      <Mark status={status} /> {children ?? status}
    </span>
  );
}

/** A moment in the chosen zone. */
export function Time({ ms }: { ms: number | null | undefined }) {
  const chosen = useStore(zone);
  if (ms === null || ms === undefined || Number.isNaN(ms)) return null;
  return (
    <time dateTime={new Date(ms).toISOString()} title={exact(ms, chosen)}>
      {moment(ms, chosen, Date.now())}
    </time>
  );
}

const second = new Store(0);
let ticking: ReturnType<typeof setInterval> | undefined;
let listeners = 0;

/** Now. With `live` the component is drawn again every second, while the page is visible. */
export function useNow(live: boolean): number {
  const [, draw] = useReducer((n: number) => n + 1, 0);
  useEffect(() => {
    if (!live) return undefined;
    if (listeners++ === 0) ticking = setInterval(() => document.hidden || second.value++, 1000);
    const stop = second.listen(() => draw(undefined));
    return () => {
      stop();
      if (--listeners === 0) clearInterval(ticking);
    };
  }, [live]);
  return Date.now();
}

/** A duration up to now. */
export function Since({ ms, live }: { ms: number; live: boolean }) {
  const now = useNow(live);
  return <>{about(now - ms)}</>;
}

/** A bar of statuses, and the same in words. */
export function Counts({ counts, bar = true }: { counts: Record<Status, number>; bar?: boolean }) {
  const shown = STATUSES.filter((status) => counts[status] > 0);
  return (
    <>
      {bar && (
        <div class="sum" aria-hidden="true">
          {[...shown].reverse().map((status) => (
            <i key={status} class={status} style={{ flexGrow: counts[status] }} />
          ))}
        </div>
      )}
      <p class="counts">
        {shown.map((status) => (
          <span key={status}>
            <Mark status={status} /> {number(counts[status])} {status}
          </span>
        ))}
      </p>
    </>
  );
}

/** An error in words, with the way back. */
export function Failed({ error, children }: { error: Error; children?: ComponentChildren }) {
  return (
    <div class="notice" role="alert">
      <h2>{title(error)}</h2>
      <p>{sentence(error.message)}</p>
      {children ?? (
        <p>
          <a href="#/runs">All runs</a>
        </p>
      )}
    </div>
  );
}

/** What a button has led to, if that failed. */
export function ErrorLine({ error }: { error: Error | undefined }) {
  if (!error) return null;
  return (
    <p class="error" role="alert">
      {sentence(clean(error.message))}
    </p>
  );
}

/** Text with its lines. A long one scrolls by itself. */
export function Text({ text }: { text: string }) {
  return (
    <pre class="text" tabIndex={0}>
      {cleanLines(text)}
    </pre>
  );
}

const TITLES: Record<number, string> = { 403: "Not allowed", 404: "Not found" };

function title(error: Error): string {
  return (error instanceof Refused && TITLES[error.status]) || "This did not work";
}

/** A message as a sentence: the messages of the API begin in lower case and have no end. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  const end = /[.!?…]$/.test(trimmed) ? "" : ".";
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1) + end;
}

/** A field to search or filter with. */
export function SearchField({
  label,
  placeholder,
  text,
  onText,
  field,
}: {
  label: string;
  placeholder: string;
  text: string;
  onText(text: string): void;
  field?: Ref<HTMLInputElement>;
}) {
  return (
    <input
      ref={field ?? null}
      type="search"
      aria-label={label}
      placeholder={placeholder}
      value={text}
      onInput={(event) => onText(event.currentTarget.value)}
    />
  );
}

export function StatusSelect({ status, onStatus }: { status: string; onStatus(status: string): void }) {
  return (
    <select aria-label="Status" value={status} onChange={(event) => onStatus(event.currentTarget.value)}>
      <option value="">any status</option>
      {STATUSES.map((each) => (
        <option key={each} value={each}>
          {each}
        </option>
      ))}
    </select>
  );
}

export function Button(props: ButtonHTMLAttributes) {
  return <button type="button" {...props} />;
}

export function Check({ label, on, onChange }: { label: string; on: boolean; onChange(on: boolean): void }) {
  return (
    <label class="check">
      <input type="checkbox" checked={on} onChange={(event) => onChange(event.currentTarget.checked)} /> {label}
    </label>
  );
}

/** A table that scrolls to the side by itself. A head is a text or a cell. */
export function Table({
  label,
  kind = "cards",
  heads,
  children,
}: {
  label: string;
  kind?: string;
  heads: (string | VNode)[];
  children: ComponentChildren;
}) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={label}>
      <table class={kind}>
        <thead>
          <tr>{heads.map((head) => (typeof head === "string" ? <th key={head}>{head}</th> : head))}</tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

/** A form around fields of a search: Enter does nothing unless `onSubmit` is given. */
export function SearchForm({ onSubmit, children }: { onSubmit?: () => void; children: ComponentChildren }) {
  const submit = (event: Event) => {
    event.preventDefault();
    onSubmit?.();
  };
  return (
    <form class="row" role="search" onSubmit={submit}>
      {children}
    </form>
  );
}

/** Asks for something every `interval` milliseconds while the component is shown and `keys` stay. Returns the failure that ended it. */
export function usePoll(
  interval: number,
  keys: unknown[],
  step: (signal: AbortSignal, end: () => void) => Promise<void>,
): Error | undefined {
  const [error, setError] = useState<Error>();
  useEffect(() => {
    const stop = new AbortController();
    setError(undefined);
    poll(interval, stop.signal, (signal) => step(signal, () => stop.abort())).catch((failure: unknown) => {
      if (!stop.signal.aborted) setError(failure as Error);
    });
    return () => stop.abort();
  }, keys);
  return error;
}

/** A dialog that asks before something is done. */
export function Confirm(props: {
  title: string;
  children: ComponentChildren;
  yes: string;
  no: string;
  onYes(): void;
  onNo(): void;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog ref={dialog} class="confirm" aria-labelledby="confirm-title" onClose={props.onNo}>
      <h2 id="confirm-title">{props.title}</h2>
      {props.children}
      <div class="row end">
        <Button onClick={() => dialog.current?.close()}>{props.no}</Button>
        <Button class="danger" onClick={props.onYes}>
          {props.yes}
        </Button>
      </div>
    </dialog>
  );
}

/** The pages of a list. */
export function Pager({
  page,
  pages,
  onPage,
  total,
  what,
}: {
  page: number;
  pages: number;
  onPage(page: number): void;
  total: number;
  what: string;
}) {
  if (pages <= 1) return <p class="muted">{count(total, what)}</p>;
  return (
    <nav class="row pager" aria-label={`Pages of ${plural(what)}`}>
      <Button disabled={page === 0} onClick={() => onPage(page - 1)}>
        Previous
      </Button>
      <span>
        Page {number(page + 1)} of {number(pages)}, {count(total, what)}
      </span>
      <Button disabled={page === pages - 1} onClick={() => onPage(page + 1)}>
        Next
      </Button>
    </nav>
  );
}

/** Saves text as a file of the reader. */
export function save(name: string, type: string, parts: BlobPart[]): void {
  const url = URL.createObjectURL(new Blob(parts, { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name.replace(/[^\w.-]+/g, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
