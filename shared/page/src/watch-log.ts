/** Follows the log of one attempt. */

import { type LogChunk, paths } from "./api.ts";
import { clock, client, locks, reports } from "./context.ts";
import { follow } from "./follow.ts";
import { type Change, Log } from "./log.ts";
import type { ServerEvent } from "./sse.ts";
import { Store } from "./store.ts";

export interface LogState {
  kind: "loading" | "live" | "ended" | "failed";
  error?: Error;
}

export class LogWatch {
  log = new Log();
  readonly state = new Store<LogState>({ kind: "loading" });
  /** Called with what changed. */
  onChange: ((change: Change) => void) | undefined;
  /** Called when the log begins anew: the workflow was started again. */
  onReset: (() => void) | undefined;
  #stop = new AbortController();
  #pending: LogChunk[] = [];
  #run: string | undefined;

  constructor(id: string, job: string, attempt: number) {
    const path = paths.logStream(id, job, attempt);
    const source = {
      lastId: "",
      open: async (last: string, once: boolean, signal: AbortSignal) => {
        const headers: Record<string, string> = last === "" ? {} : { "Last-Event-ID": last };
        const response = await client.send(path + (once ? "&once=true" : ""), { signal, headers });
        if (this.state.value.kind === "loading") this.state.value = { kind: "live" };
        return response;
      },
      take: (event: ServerEvent) => {
        if (event.type === "log") this.#take(event);
        return event.type === "end";
      },
    };
    follow(source, this.#stop.signal, locks, clock, reports).then(
      () => this.#end(),
      (error: unknown) => {
        if (!this.#stop.signal.aborted) this.state.value = { kind: "failed", error: error as Error };
      },
    );
  }

  stop(): void {
    this.#stop.abort();
  }

  #take(event: ServerEvent): void {
    // An id is `sequence`, `attempt.sequence` or `run.attempt.sequence`.
    const parts = event.id.split(".");
    const run = parts.length === 3 ? parts[0]! : "1";
    if (this.#run !== undefined && this.#run !== run) {
      this.log = new Log();
      this.#pending = [];
      this.onReset?.();
    }
    this.#run = run;
    if (this.#pending.length === 0) queueMicrotask(() => this.#flush());
    this.#pending.push(JSON.parse(event.data) as LogChunk);
  }

  #flush(): void {
    const chunks = this.#pending;
    this.#pending = [];
    if (chunks.length > 0) this.#changed(this.log.push(chunks));
  }

  /** The view may not be there yet: it then begins with what the log has. */
  #changed(change: Change): void {
    this.onChange?.(change);
  }

  #end(): void {
    if (this.#stop.signal.aborted) return;
    this.#flush();
    this.#changed(this.log.finish());
    this.state.value = { kind: "ended" };
  }
}
