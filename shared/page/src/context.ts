/** What every screen uses: the client, whether the reader is signed in, the address, settings, and what is said to the reader. */

import { type Me, type Scope, paths } from "./api.ts";
import { Client, Refused } from "./client.ts";
import { type Reports, type TabClock, repeat } from "./repeat.ts";
import { type Route, format, parse } from "./route.ts";
import { Store } from "./store.ts";
import { Tokens } from "./token.ts";
import type { Zone } from "./time.ts";

/** How long a new tab waits for the token of another one, in milliseconds. */
const ASK_TABS = 400;
/** How often the page asks whether its token is still good, in milliseconds. */
const CHECK_TOKEN = 30_000;

export type Access = { kind: "starting" } | { kind: "signed-out"; why: string } | { kind: "open"; me: Me };

export const access = new Store<Access>({ kind: "starting" });
export const tokens = new Tokens(
  sessionStorage,
  typeof BroadcastChannel === "undefined" ? undefined : new BroadcastChannel(`wfg:${location.pathname}`),
);
export const client = new Client(() => tokens.token);
export const locks = navigator.locks as unknown as import("./budget.ts").Locks | undefined;

/** Why the page can't reach the server at present. */
export interface Trouble {
  text: string;
  since: number;
  /** When it is tried again, by this machine's clock. */
  next: number;
}
export const trouble = new Store<Trouble | null>(null);

const wake = new EventTarget();
/** Ends all pauses: it is worth trying now. */
export function tryNow(): void {
  wake.dispatchEvent(new Event("wake"));
}
addEventListener("online", tryNow);
document.addEventListener("visibilitychange", () => document.hidden || tryNow());

export const clock: TabClock = {
  isHidden: () => document.hidden,
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        wake.removeEventListener("wake", done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      wake.addEventListener("wake", done);
      signal.addEventListener("abort", done);
      if (signal.aborted) done();
    }),
};

export const reports: Reports = {
  failed(error, pause) {
    const text =
      error instanceof Refused ? `The server can't answer now: ${error.message}.` : "The server doesn't answer.";
    trouble.value = { text, since: trouble.value?.since ?? Date.now(), next: Date.now() + pause };
  },
  succeeded() {
    trouble.value = null;
  },
};

/** Asks for something every `interval` milliseconds until `signal` is aborted. Throws if no repetition can help. */
export function poll(
  interval: number,
  signal: AbortSignal,
  step: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  return repeat(
    async (stop) => {
      await step(stop);
      return interval;
    },
    signal,
    clock,
    reports,
  );
}

/** Whether the caller has a scope. Without tokens everybody has all. */
export function may(scope: Scope): boolean {
  return access.value.kind === "open" && access.value.me.scopes.includes(scope);
}

export const route = new Store<Route>(parse(location.hash));
addEventListener("hashchange", () => (route.value = parse(location.hash)));

/** Goes to a route. `replace`: without an entry in the browser's history. */
export function go(to: Route, replace = false): void {
  if (replace) {
    history.replaceState(null, "", format(to));
    route.value = to;
  } else {
    location.hash = format(to);
  }
}

export const zone = new Store<Zone>(localStorage.getItem("wfg-zone") === "utc" ? "utc" : "local");
zone.listen(() => localStorage.setItem("wfg-zone", zone.value));

/** What a screen reader says next. Changes are said every 5 s at most. */
export const announcement = new Store("");
const ANNOUNCE_EVERY = 5000;
let lastAnnounced = 0;
let waiting: ReturnType<typeof setTimeout> | undefined;

export function announce(text: string): void {
  clearTimeout(waiting);
  const pause = Math.max(0, lastAnnounced + ANNOUNCE_EVERY - Date.now());
  waiting = setTimeout(() => {
    lastAnnounced = Date.now();
    announcement.value = text;
  }, pause);
}

/** The title and icon of the tab. */
export function setTitle(text: string, colour?: string): void {
  document.title = text === "" ? "workflow-graph" : `${text} · workflow-graph`;
  const icon = document.querySelector<HTMLLinkElement>("link[rel=icon]");
  if (!icon) return;
  const circle = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="${colour}"/></svg>`;
  icon.href = colour === undefined ? "icon.svg" : `data:image/svg+xml,${encodeURIComponent(circle)}`;
}

let checking: AbortController | undefined;

/** Finds out who the caller is: with the token of this tab, or of another one, or without. */
export async function start(): Promise<void> {
  if (tokens.token === null) await tokens.ask(ASK_TABS);
  await open("");
}

/** Opens the page with a token. Throws if the server refuses it. */
export async function signIn(token: string): Promise<void> {
  const tried = new Client(() => token);
  const { value } = await tried.json<Me>(paths.me);
  tokens.signIn(token);
  opened(value);
}

export function signOut(): void {
  tokens.signOut();
  closed("You are signed out.");
}

async function open(why: string): Promise<void> {
  const stop = new AbortController();
  checking?.abort();
  checking = stop;
  try {
    await poll(0, stop.signal, async (signal) => {
      const { value } = await client.json<Me>(paths.me, { signal });
      stop.abort();
      opened(value);
    });
  } catch (error) {
    if (error instanceof Refused && error.status !== 401) closed(`The server refuses this token: ${error.message}.`);
    else if (access.value.kind !== "signed-out") closed(why);
  }
}

function opened(me: Me): void {
  access.value = { kind: "open", me };
  checking?.abort();
  if (me.auth === "none") return;
  const stop = new AbortController();
  checking = stop;
  clock
    .sleep(CHECK_TOKEN, stop.signal)
    .then(() =>
      poll(CHECK_TOKEN, stop.signal, async (signal) => {
        const { value } = await client.json<Me>(paths.me, { signal });
        if (access.value.kind === "open") access.value = { kind: "open", me: value };
      }),
    )
    .catch((error: unknown) => {
      if (error instanceof Refused) closed(`The server refuses this token: ${error.message}.`);
    });
}

function closed(why: string): void {
  checking?.abort();
  trouble.value = null;
  access.value = { kind: "signed-out", why };
}

client.onSignedOut = (token) => {
  if (token === null) return closed("");
  // Another tab may have signed in meanwhile.
  if (token !== tokens.token) return;
  tokens.forget();
  closed("The token is over: it has expired, or it was revoked.");
};

tokens.onChange = (token) => {
  if (token === null) closed("You are signed out.");
  else if (access.value.kind === "signed-out") void open("");
};
