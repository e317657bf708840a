/** Watches a run: reads its graph, then follows its events, over cuts, restarts and re-runs. */

import { type EndEvent, type Graph, type JobsEvent, type SnapshotEvent, isFinal, paths } from "./api.ts";
import { client, clock, locks, reports } from "./context.ts";
import { type Source, follow } from "./follow.ts";
import { repeat } from "./repeat.ts";
import { Run } from "./run.ts";
import type { ServerEvent } from "./sse.ts";
import { Store } from "./store.ts";

/** How often a finished run is looked at for a re-run by someone else, in milliseconds. */
const LOOK_AGAIN = 30_000;

/** The pause before a graph is read again, in milliseconds: the server's copy may be behind the events for a moment. */
const STALE_PAUSE = 500;

export type Watched =
  | { kind: "loading" }
  | { kind: "failed"; error: Error }
  /** The same `run` changes in place; `version` counts its changes. */
  | { kind: "ready"; run: Run; version: number };

export class RunWatch {
  readonly state = new Store<Watched>({ kind: "loading" });
  /** How news come: at once, by asking, or not any more because the run is final. */
  readonly how = new Store<"stream" | "poll" | "ended">("poll");
  #id: string;
  #stop = new AbortController();
  #round = new AbortController();
  #etag: string | undefined;
  #graph: Graph | undefined;

  constructor(id: string) {
    this.#id = id;
    this.#watch().catch((error: unknown) => {
      if (!this.#stop.signal.aborted) this.state.value = { kind: "failed", error: error as Error };
    });
  }

  /** Looks for news now: after a re-run from this page. */
  again(): void {
    this.#round.abort();
  }

  stop(): void {
    this.#stop.abort();
    this.#round.abort();
  }

  async #watch(): Promise<void> {
    let lastId = "";
    while (!this.#stop.signal.aborted) {
      this.#round = new AbortController();
      if (lastId === "") await this.#readGraph();
      const source = this.#source(lastId);
      await follow(source, this.#round.signal, locks, clock, reports);
      lastId = source.isStale ? "" : source.lastId;
      if (this.#round.signal.aborted) continue;
      if (source.isStale) {
        await clock.sleep(STALE_PAUSE, this.#round.signal);
        continue;
      }
      this.how.value = "ended";
      await clock.sleep(LOOK_AGAIN, this.#round.signal);
    }
  }

  async #readGraph(): Promise<void> {
    await repeat(
      async (signal) => {
        const headers: Record<string, string> = this.#etag === undefined ? {} : { "If-None-Match": this.#etag };
        const { value, etag } = await client.json<Graph | undefined>(paths.graph(this.#id), { signal, headers });
        if (value) [this.#graph, this.#etag] = [value, etag];
        return undefined;
      },
      this.#stop.signal,
      clock,
      reports,
    );
  }

  #source(lastId: string): Source & { isStale: boolean } {
    const source = {
      lastId,
      /** The events are of another run than the graph. */
      isStale: false,
      open: (last: string, once: boolean, signal: AbortSignal) =>
        client.send(paths.events(this.#id) + (once ? "?once=true" : ""), {
          signal,
          headers: last === "" ? {} : { "Last-Event-ID": last },
        }),
      take: (event: ServerEvent) => {
        if (event.type === "rerun") source.isStale = true;
        else if (event.type === "snapshot") source.isStale = !this.#snapshot(JSON.parse(event.data) as SnapshotEvent);
        else if (event.type === "jobs") this.#change(JSON.parse(event.data) as JobsEvent);
        else if (event.type === "end") this.#end(JSON.parse(event.data) as EndEvent);
        return source.isStale || event.type === "end";
      },
      how: (how: "stream" | "poll") => {
        const state = this.state.value;
        const isOver = state.kind === "ready" && isFinal(state.run.facts.status);
        if (!isOver) this.how.value = how;
      },
    };
    return source;
  }

  /** Returns false if the graph is of another run. */
  #snapshot(event: SnapshotEvent): boolean {
    if (event.run !== undefined && event.run !== this.#graph!.run) {
      this.#etag = undefined;
      return false;
    }
    const run = new Run(this.#id, this.#graph!);
    run.snapshot(event);
    this.#show(run);
    return true;
  }

  #change(event: JobsEvent): void {
    const state = this.state.value;
    if (state.kind !== "ready") return;
    state.run.apply(event.jobs);
    state.run.setStatus(event.status);
    this.#show(state.run);
  }

  #end(event: EndEvent): void {
    const state = this.state.value;
    if (state.kind !== "ready") return;
    state.run.setStatus(event.status, event.finished_at_ms);
    this.#show(state.run);
  }

  #show(run: Run): void {
    const before = this.state.value;
    this.state.value = { kind: "ready", run, version: before.kind === "ready" ? before.version + 1 : 0 };
  }
}
