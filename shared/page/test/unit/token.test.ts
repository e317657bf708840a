import assert from "node:assert/strict";
import { test } from "node:test";
import { type Channel, type Memory, Tokens } from "../../src/token.ts";

class Tab implements Memory {
  kept = new Map<string, string>();
  getItem(key: string) {
    return this.kept.get(key) ?? null;
  }
  setItem(key: string, value: string) {
    this.kept.set(key, value);
  }
  removeItem(key: string) {
    this.kept.delete(key);
  }
}

/** Channels that reach each other, as those of the tabs of a browser. */
function browser() {
  const channels: Channel[] = [];
  return (): Channel => {
    const own: Channel = {
      onmessage: null,
      postMessage: (data) =>
        channels.forEach((other) => other !== own && queueMicrotask(() => other.onmessage?.({ data } as MessageEvent))),
    };
    channels.push(own);
    return own;
  };
}

test("a new tab gets the token from another one", async () => {
  const channel = browser();
  const first = new Tokens(new Tab(), channel());
  const second = new Tokens(new Tab(), channel());
  first.signIn("secret");
  assert.equal(await second.ask(10_000), "secret");
  assert.equal(second.token, "secret");
});

test("a fresh browser has no tab to ask", async () => {
  const alone = new Tokens(new Tab(), browser()());
  assert.equal(await alone.ask(1), null);
  assert.equal(alone.token, null);
});

test("a sign-in reaches tabs that wait for one, and no tab that has its own", async () => {
  const channel = browser();
  const [first, waiting, other] = [0, 1, 2].map(() => new Tokens(new Tab(), channel()));
  const seen: (string | null)[] = [];
  waiting!.onChange = (token) => seen.push(token);
  other!.signIn("other");
  await Promise.resolve();
  assert.deepEqual(seen, ["other"]);
  first!.signIn("mine");
  await Promise.resolve();
  assert.equal(other!.token, "other");
});

test("a sign-out reaches every tab; a token that is over is forgotten in one", async () => {
  const channel = browser();
  const [first, second] = [new Tokens(new Tab(), channel()), new Tokens(new Tab(), channel())];
  first.signIn("secret");
  await second.ask(10_000);
  second.forget();
  await Promise.resolve();
  assert.equal(first.token, "secret");
  const seen: (string | null)[] = [];
  first.onChange = (token) => seen.push(token);
  second.signOut();
  await Promise.resolve();
  assert.deepEqual(seen, [null]);
  assert.equal(first.token, null);
});
