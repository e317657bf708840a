/** Follows server-sent events over cuts and restarts: each request goes on after the last event. */

import { type Locks, takeStream } from "./budget.ts";
import { Unreachable } from "./client.ts";
import { FIRST_PAUSE, type Reports, type TabClock, repeat } from "./repeat.ts";
import { EventParser, type ServerEvent } from "./sse.ts";

/** How often events are asked for without a stream, in milliseconds. */
export const POLL = 2000;
/** An answer with this much text was cut by the server at its limit: there is more. */
const CUT = 1_000_000;

export interface Source {
  /** The id of the last event, after which the next request goes on. */
  lastId: string;
  /** Sends the request. Throws if the answer isn't one with events. */
  open(lastId: string, once: boolean, signal: AbortSignal): Promise<Response>;
  /** Takes an event. Returns true at the last one. */
  take(event: ServerEvent): boolean;
  /** Says how events come: at once, or by asking. */
  how?(how: "stream" | "poll"): void;
}

/** Follows until the last event, or until `signal` is aborted. */
export async function follow(
  source: Source,
  signal: AbortSignal,
  locks: Locks | undefined,
  clock: TabClock,
  reports: Reports,
): Promise<void> {
  await repeat(
    async (stop, alive) => {
      const release = await takeStream(locks);
      try {
        source.how?.(release ? "stream" : "poll");
        const parser = new EventParser();
        parser.lastId = source.lastId;
        const response = await source.open(source.lastId, release === undefined, stop);
        const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
        let size = 0;
        for (;;) {
          const text = await reader.read().then(({ value }) => value, cut);
          if (text === undefined) break;
          size += text.length;
          const events = parser.push(text);
          source.lastId = parser.lastId;
          for (const event of events) {
            if (!source.take(event)) continue;
            void reader.cancel();
            return undefined;
          }
          alive();
        }
        if (size > CUT) return 0;
        const asked = parser.retry ?? FIRST_PAUSE;
        return release ? asked : Math.max(asked, POLL);
      } finally {
        release?.();
      }
    },
    signal,
    clock,
    reports,
  );
}

/** The connection was cut in the middle of an answer. */
function cut(cause: unknown): never {
  throw new Unreachable("the connection was cut", { cause });
}
