import assert from "node:assert/strict";
import { test } from "node:test";
import { type Locks, STREAMS, takeStream } from "../../src/budget.ts";
import { Refused, Unreachable } from "../../src/client.ts";
import { type Source, follow } from "../../src/follow.ts";
import type { ServerEvent } from "../../src/sse.ts";

/** Locks as a browser has them. */
function locks(): Locks & { held: Set<string> } {
  const held = new Set<string>();
  return {
    held,
    async request(name, _, callback) {
      if (held.has(name)) return callback(null);
      held.add(name);
      await callback({});
      held.delete(name);
      return undefined;
    },
  };
}

interface Script {
  answers: (() => Response | Promise<Response>)[];
  asked: { lastId: string; once: boolean }[];
  pauses: number[];
  events: ServerEvent[];
  failures: string[];
}

/** Follows a server that gives these answers, one for each request. */
async function run(answers: Script["answers"], options: { locks?: Locks; hidden?: boolean } = {}): Promise<Script> {
  const script: Script = { answers: [...answers], asked: [], pauses: [], events: [], failures: [] };
  const stop = new AbortController();
  const source: Source = {
    lastId: "",
    async open(lastId, once) {
      script.asked.push({ lastId, once });
      const answer = script.answers.shift();
      if (!answer) {
        stop.abort();
        throw new Error("stopped");
      }
      return answer();
    },
    take(event) {
      script.events.push(event);
      return event.type === "end";
    },
  };
  const clock = {
    sleep: async (ms: number) => void script.pauses.push(ms),
    isHidden: () => options.hidden ?? false,
  };
  const reports = { failed: (error: Error) => void script.failures.push(error.message), succeeded: () => undefined };
  await follow(source, stop.signal, options.locks, clock, reports);
  return script;
}

const text = (body: string) => () => new Response(body);
const event = (id: number, type = "log") => `event: ${type}\nid: ${id}\ndata: ${id}\n\n`;
const ids = (script: Script) => script.events.map((e) => e.data).join(" ");

/** An answer that is cut after this text. */
const cut = (body: string) => () =>
  new Response(
    new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode(body)),
      pull: (controller) => controller.error(new TypeError("reset")),
    }),
  );
const gone = () => {
  throw new Unreachable("gone");
};

test("after a cut the next request goes on, without a lost or repeated event", async () => {
  const script = await run([cut(`${event(1)}${event(2)}id: 3\ndata: ha`), text(event(3) + event(4, "end"))], {
    locks: locks(),
  });
  assert.deepEqual(script.asked, [
    { lastId: "", once: false },
    { lastId: "2", once: false },
  ]);
  assert.equal(ids(script), "1 2 3 4");
});

test("pauses after failures grow from 1 s to 30 s, and begin again after a success", async () => {
  const script = await run(
    [gone, gone, gone, gone, gone, gone, gone, text(`retry: 1000\n\n${event(1)}`), gone, text(event(2, "end"))],
    {
      locks: locks(),
    },
  );
  assert.deepEqual(script.pauses, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 1000, 1000]);
  assert.equal(script.failures.length, 8);
});

test("a server that asks for a longer pause gets it", async () => {
  const busy = () => {
    throw new Refused(429, "rate_limited", "too many", [], 12_000);
  };
  const script = await run([busy, text(event(1, "end"))], { locks: locks() });
  assert.deepEqual(script.pauses, [12_000]);
});

test("a function's answer is asked for again after the time it gives; a full answer at once", async () => {
  const full = `retry: 4000\n\ndata: ${"x".repeat(1_000_001)}\n\n`;
  const script = await run([text("retry: 4000\n\n"), text(full), text(event(1, "end"))], { locks: locks() });
  assert.deepEqual(script.pauses, [4000, 0]);
});

test("a stream that ends without a reason is asked for again after 1 s, not at once", async () => {
  const script = await run([text(event(1)), text(event(2, "end"))], { locks: locks() });
  assert.deepEqual(script.pauses, [1000]);
});

test("without a lock events are asked for every 2 s; a hidden tab asks once a minute", async () => {
  const script = await run([text("retry: 1000\n\n"), text(event(1, "end"))]);
  assert.deepEqual(
    script.asked.map((a) => a.once),
    [true, true],
  );
  assert.deepEqual(script.pauses, [2000]);
  const hidden = await run([text("retry: 1000\n\n"), text(event(1, "end"))], { hidden: true });
  assert.deepEqual(hidden.pauses, [60_000]);
});

test("a refusal that no repetition can change ends it", async () => {
  const missing = () => {
    throw new Refused(404, "no_such_workflow", "there is no workflow `x`");
  };
  await assert.rejects(run([missing]), /no workflow/);
});

test("all tabs together hold four streams", async () => {
  const browser = locks();
  const taken = [];
  for (let i = 0; i < STREAMS; i++) taken.push(await takeStream(browser));
  assert.ok(taken.every((release) => release !== undefined));
  assert.equal(await takeStream(browser), undefined);
  taken[2]!();
  await new Promise((resolve) => setImmediate(resolve));
  assert.notEqual(await takeStream(browser), undefined);
  assert.equal(await takeStream(undefined), undefined);
});

test("a stream that ended gives its lock back", async () => {
  const browser = locks();
  await run([text(event(1, "end"))], { locks: browser });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(browser.held.size, 0);
});
