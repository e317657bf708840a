import assert from "node:assert/strict";
import { test } from "node:test";
import { bodyOf } from "../../src/submission.ts";

test("a definition is sent as it is, in its format", () => {
  assert.deepEqual(bodyOf("name: a\n", " \n"), ["application/yaml", "name: a\n"]);
  assert.deepEqual(bodyOf(' {"name": "a"}', ""), ["application/json", ' {"name": "a"}']);
});

test("inputs are sent beside the definition", () => {
  assert.deepEqual(bodyOf("name: a\n", "version=1=2\n tag = x \n"), [
    "application/json",
    JSON.stringify({ definition: "name: a\n", inputs: { version: "1=2", tag: "x" } }),
  ]);
  assert.deepEqual(JSON.parse(bodyOf('{"name":"a"}', "x=1")[1]), { definition: { name: "a" }, inputs: { x: "1" } });
  assert.throws(() => bodyOf("name: a", "x"), /input `x` has no value/);
});
