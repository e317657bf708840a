/** Small parts that several screens use. */

import type { ComponentChildren } from "preact";
import { useEffect, useReducer, useRef } from "preact/hooks";
import { STATUSES, type Status } from "./api.ts";
import { Refused } from "./client.ts";
import { client, zone } from "./context.ts";
import { MARKS } from "./marks.ts";
import { Store, useStore } from "./store.ts";
import { count, number } from "./text.ts";
import { about, exact, moment } from "./time.ts";

export function Mark({ status }: { status: Status }) {
  return <span class={`mark ${status}`} aria-hidden="true">{MARKS[status]}</span>;
}

export function Pill({ status, children }: { status: Status; children?: ComponentChildren }) {
  return <span class={`pill ${status}`}><Mark status={status} /> {children ?? status}</span>;
}

/** A moment in the chosen zone. */
export function Time({ ms }: { ms: number | null | undefined }) {
  const chosen = useStore(zone);
  if (ms === null || ms === undefined || Number.isNaN(ms)) return null;
  return <time dateTime={new Date(ms).toISOString()} title={exact(ms, chosen)}>{moment(ms, chosen, client.now())}</time>;
}

const second = new Store(0);
let ticking: ReturnType<typeof setInterval> | undefined;
let listeners = 0;

/** Now by the server's clock. With `live` the component is drawn again every second, while the page is visible. */
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
  return client.now();
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
          {[...shown].reverse().map((status) => <i key={status} class={status} style={{ flexGrow: counts[status] }} />)}
        </div>
      )}
      <p class="counts">
        {shown.map((status) => <span key={status}><Mark status={status} /> {number(counts[status])} {status}</span>)}
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
      {children ?? <p><a href="#/runs">All runs</a></p>}
    </div>
  );
}

function title(error: Error): string {
  if (!(error instanceof Refused)) return "Something went wrong";
  if (error.status === 403) return "Your token doesn't allow this";
  if (error.status === 404) return "Not found";
  if (error.status === 413) return "Too large";
  if (error.status === 429) return "Too many requests";
  if (error.status >= 500) return "The server can't answer now";
  return "The server refuses this";
}

/** A message as a sentence: the messages of the API begin in lower case and have no end. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  const end = /[.!?…]$/.test(trimmed) ? "" : ".";
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1) + end;
}

/** A dialog that asks before something is done. */
export function Confirm(props: { title: string; children: ComponentChildren; yes: string; no: string; onYes(): void; onNo(): void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog ref={dialog} class="confirm" aria-labelledby="confirm-title" onClose={props.onNo}>
      <h2 id="confirm-title">{props.title}</h2>
      {props.children}
      <div class="row end">
        <button type="button" onClick={() => dialog.current?.close()}>{props.no}</button>
        <button type="button" class="danger" onClick={props.onYes}>{props.yes}</button>
      </div>
    </dialog>
  );
}

/** The pages of a list. */
export function Pager({ page, pages, onPage, total, what }: { page: number; pages: number; onPage(page: number): void; total: number; what: string }) {
  if (pages <= 1) return <p class="muted">{count(total, what)}</p>;
  return (
    <nav class="row pager" aria-label={`Pages of ${what}s`}>
      <button type="button" disabled={page === 0} onClick={() => onPage(0)}>First</button>
      <button type="button" disabled={page === 0} onClick={() => onPage(page - 1)}>Previous</button>
      <span>Page {number(page + 1)} of {number(pages)}, {count(total, what)}</span>
      <button type="button" disabled={page === pages - 1} onClick={() => onPage(page + 1)}>Next</button>
      <button type="button" disabled={page === pages - 1} onClick={() => onPage(pages - 1)}>Last</button>
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
