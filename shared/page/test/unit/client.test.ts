import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, Refused, Unreachable, nextPage } from "../../src/client.ts";

type Init = { headers: Record<string, string>; credentials: string };

function client(answer: () => Response, token: string | null = null) {
  const sent: [string, Init][] = [];
  const made = new Client(() => token, (async (path: string, init: unknown) => {
    sent.push([path, init as Init]);
    return answer();
  }) as unknown as typeof fetch);
  return { made, sent };
}

test("the token is sent as Authorization, and cookies never", async () => {
  const { made, sent } = client(() => Response.json([]), "secret");
  await made.json("api/workers");
  assert.equal(sent[0]![1].headers["Authorization"], "Bearer secret");
  assert.equal(sent[0]![1].credentials, "omit");
});

test("a refusal carries the server's words and problems", async () => {
  const problems = [{ code: "x", message: "no", path: "jobs.a", line: 3 }];
  const body = { error: { code: "invalid_definition", message: "1 problem", details: { problems } } };
  const { made } = client(() => Response.json(body, { status: 422 }));
  await assert.rejects(made.json("a"), (error: Refused) => {
    assert.deepEqual(
      [error.status, error.code, error.message, error.problems],
      [422, "invalid_definition", "1 problem", problems],
    );
    return !error.passing;
  });
});

test("429 and 503 can pass, and say when", async () => {
  for (const status of [429, 503]) {
    const body = { error: { code: "c", message: "m" } };
    const { made } = client(() => Response.json(body, { status, headers: { "Retry-After": "7" } }));
    await assert.rejects(made.json("a"), (error: Refused) => error.passing && error.after === 7000);
  }
});

test("501 can't pass: this server has no such thing", async () => {
  const body = { error: { code: "no_forges", message: "m" } };
  const { made } = client(() => Response.json(body, { status: 501 }));
  await assert.rejects(made.json("a"), (error: Refused) => !error.passing);
});

test("an answer that isn't the API's is said in words", async () => {
  const { made } = client(() => new Response("<html>", { status: 502 }));
  await assert.rejects(made.json("a"), /the server answered 502/);
});

test("401 signs out", async () => {
  const { made } = client(
    () => Response.json({ error: { code: "unauthorized", message: "m" } }, { status: 401 }),
    "old",
  );
  const seen: (string | null)[] = [];
  made.onSignedOut = (token) => seen.push(token);
  await assert.rejects(made.json("a"));
  assert.deepEqual(seen, ["old"]);
});

test("no answer, and half an answer, are unreachable", async () => {
  const none = client(() => {
    throw new TypeError("fetch failed");
  });
  await assert.rejects(none.made.json("a"), Unreachable);
  const half = client(() => new Response('{"a":'));
  await assert.rejects(half.made.json("a"), Unreachable);
});

test("the next page is relative to the page, behind any stage", () => {
  assert.equal(nextPage('</api/workflows?limit=2&cursor=a>; rel="next"'), "api/workflows?limit=2&cursor=a");
  assert.equal(nextPage('</prod/api/workers?cursor=a>; rel="next"'), "api/workers?cursor=a");
  assert.equal(nextPage('</api/forges/a/deliveries?cursor=b>; rel="next"'), "api/forges/a/deliveries?cursor=b");
  assert.equal(nextPage(null), undefined);
});
