import assert from "node:assert/strict";
import { test } from "node:test";
import { EventParser } from "../../src/sse.ts";

const TEXT = [
  "\ufeffretry: 2000\n\n",
  ": a comment\r\n",
  'event: log\r\nid: 1.5\r\ndata: {"a":\r\ndata: 1}\r\n\r\n',
  "data:no space\rid: 7\r\r",
  "id: 8\n\n",
  "event: end\ndata\n\n",
].join("");
const EVENTS = [
  { type: "log", data: '{"a":\n1}', id: "1.5" },
  { type: "message", data: "no space", id: "7" },
  { type: "end", data: "", id: "8" },
];

test("events are the same however the text arrives", () => {
  for (let size = 1; size <= TEXT.length; size++) {
    const parser = new EventParser();
    const events = [];
    for (let i = 0; i < TEXT.length; i += size) events.push(...parser.push(TEXT.slice(i, i + size)));
    assert.deepEqual(events, EVENTS, `pieces of ${size}`);
    assert.equal(parser.retry, 2000);
    assert.equal(parser.lastId, "8");
  }
});

test("the id of an event that was cut is not taken", () => {
  const parser = new EventParser();
  parser.push("id: 1\ndata: a\n\nid: 2\ndata: b\n");
  assert.equal(parser.lastId, "1");
});
