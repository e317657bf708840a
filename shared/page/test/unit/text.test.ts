import assert from "node:assert/strict";
import { test } from "node:test";
import { allOf, byName, clean, cleanLines, count, cut, number } from "../../src/text.ts";

test("control characters, NUL and bidirectional overrides are escaped", () => {
  assert.equal(
    clean("a\0b\u001b[31m\n\t\u202ecod\u2066.\u0085"),
    "a\\u{0}b\\u{1b}[31m\\n\\t\\u{202e}cod\\u{2066}.\\u{85}",
  );
  assert.equal(clean("<script>alert(1)</script> 🚀 日本"), "<script>alert(1)</script> 🚀 日本");
  assert.equal(cleanLines("a\r\nb\tc\u0007"), "a\nb\tc\\u{7}");
});

test("a cut leaves no half of a character", () => {
  assert.equal(cut("abc", 3), "abc");
  assert.equal(cut("abcd", 3), "ab…");
  assert.equal(cut("a🚀🚀", 3), "a…");
});

test("numbers and lists read as sentences", () => {
  assert.deepEqual([0, 999, 1000, 1234567].map(number), ["0", "999", "1,000", "1,234,567"]);
  assert.equal(count(1, "job"), "1 job");
  assert.equal(count(10_000, "job"), "10,000 jobs");
  assert.equal(count(2, "delivery"), "2 deliveries");
  assert.equal(allOf([]), "");
  assert.equal(allOf(["a", "b", "c"]), "a, b and c");
  assert.equal(allOf(["1", "2", "3", "4", "5", "6", "7"]), "1, 2, 3, 4, 5, 6 and 7");
  assert.equal(allOf(["1", "2", "3", "4", "5", "6", "7", "8"]), "1, 2, 3, 4, 5, 6 and 2 more");
});

test("names sort by their numbers", () => {
  assert.deepEqual(["job-10", "job-9", "job-1"].sort(byName), ["job-1", "job-9", "job-10"]);
});
