import assert from "node:assert/strict";
import { test } from "node:test";
import type { LogChunk } from "../../src/api.ts";
import { LONGEST_LINE, Log } from "../../src/log.ts";
import { Search } from "../../src/search.ts";

const chunk = (sequence: number, data: string, stream: "stdout" | "stderr" = "stdout"): LogChunk => ({
  sequence,
  data,
  timestamp_ms: sequence,
  stream,
});
const textOf = (log: Log) => log.blocks.map((block) => block.text).join("");
const numbered = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => `line ${from + i}\n`).join("");

test("a piece is one or more lines, with or without a line end", () => {
  const log = new Log();
  log.push([chunk(0, "a\nb\n"), chunk(1, "c"), chunk(2, "\n"), chunk(3, "d\r\n", "stderr"), chunk(4, "")]);
  assert.equal(textOf(log), "a\nb\nc\n\nd\n");
  assert.equal(log.lines, 5);
  assert.deepEqual(log.blocks[0]!.starts, [0, 2, 4, 6, 7]);
  assert.deepEqual(log.blocks[0]!.times, [0, 0, 1, 2, 3]);
});

test("parts of a long line are joined, beside lines of the other stream", () => {
  const log = new Log();
  const part = "x".repeat(16 * 1024);
  log.push([chunk(0, part), chunk(1, "between\n", "stderr"), chunk(2, "end\n")]);
  assert.equal(log.lines, 2);
  assert.equal(textOf(log), `between\n${part} … 3 more characters\n`);
  const open = new Log();
  open.push([chunk(0, part)]);
  assert.equal(open.lines, 0);
  open.finish();
  assert.equal(open.lines, 1);
});

test("a piece that comes again is shown once", () => {
  const log = new Log();
  log.push([chunk(0, "a\n"), chunk(1, "b\n")]);
  log.push([chunk(1, "b\n"), chunk(2, "c\n")]);
  assert.equal(textOf(log), "a\nb\nc\n");
});

test("the first lines and the latest are kept, and the gap is counted", () => {
  const log = new Log({ lines: 2000, size: 1e9, head: 600 });
  log.push([chunk(0, numbered(1, 5001))]);
  assert.equal(log.lines, 5000);
  const kept = log.blocks.reduce((sum, block) => sum + block.starts.length, 0);
  assert.ok(kept <= 2000);
  assert.equal(kept + log.dropped, 5000);
  assert.ok(textOf(log).startsWith("line 1\n") && textOf(log).endsWith("line 5000\n"));
  assert.equal(log.blocks[2]!.first, 401);
  assert.equal(log.blocks[3]!.first, 601 + log.dropped);
  assert.equal(log.blockOf(600), log.blocks[2]);
  assert.equal(log.blockOf(601), undefined);
  assert.equal(log.blockOf(4999), log.blocks.at(-1));
  assert.equal(log.blockOf(5001), undefined);
});

test("the size is limited too", () => {
  const log = new Log({ lines: 1e9, size: 100_000, head: 200 });
  log.push([chunk(0, `${"y".repeat(99)}\n`.repeat(3000))]);
  const size = textOf(log).length;
  assert.ok(size <= 110_000, String(size));
  assert.equal(log.blocks.length * 200 + log.dropped, 3000);
});

test("a line is cut where it is too long to show", () => {
  const log = new Log();
  log.push([chunk(0, `${"z".repeat(LONGEST_LINE + 5)}\nnext\n`)]);
  assert.ok(textOf(log).endsWith("z … 5 more characters\nnext\n"));
});

test("a search finds every match, without case, as lines arrive", () => {
  const log = new Log();
  log.push([chunk(0, numbered(1, 451)), chunk(1, "Needle and NEEDLE\n")]);
  const search = new Search("needle", log.blocks);
  assert.equal(search.count, 2);
  const first = search.next(log.blocks, undefined, 1)!;
  const second = search.next(log.blocks, first, 1)!;
  assert.equal(second.start - first.start, 11);
  assert.deepEqual(search.next(log.blocks, second, 1), first);
  assert.deepEqual(search.next(log.blocks, first, -1), second);
  assert.equal(search.place(second, log.blocks), 2);
  for (const block of log.push([chunk(2, "a needle more\n")]).grown) search.update(block);
  assert.equal(search.count, 3);
  search.drop(log.blocks[2]!);
  assert.equal(search.count, 0);
  assert.equal(new Search("", log.blocks).count, 0);
});
