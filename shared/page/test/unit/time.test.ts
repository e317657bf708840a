import assert from "node:assert/strict";
import { test } from "node:test";
import { about, clock, duration, exact, moment } from "../../src/time.ts";

const at = Date.UTC(2026, 0, 31, 23, 59, 59, 120);

test("durations have two units at most", () => {
  const texts = [
    0, 999, 1000, 9990, 10_000, 59_999, 60_000, 125_000, 3_600_000, 3_780_000, 86_400_000, 187_200_000,
  ].map(duration);
  assert.deepEqual(texts, [
    "0 ms",
    "999 ms",
    "1.0 s",
    "9.9 s",
    "10 s",
    "59 s",
    "1 min",
    "2 min 5 s",
    "1 h",
    "1 h 3 min",
    "1 d",
    "2 d 4 h",
  ]);
  assert.equal(about(5900), "5 s");
  assert.equal(about(-5), "0 s");
});

for (const zone of ["America/New_York", "Asia/Kolkata"]) {
  test(`times are shown in the chosen zone: ${zone}`, () => {
    process.env.TZ = zone;
    const local = zone === "Asia/Kolkata" ? ["2026-02-01", "05:29:59", "+05:30"] : ["2026-01-31", "18:59:59", "-05:00"];
    assert.equal(moment(at, "utc", at + 1000 * 60), "2026-01-31 23:59:59 UTC");
    assert.equal(moment(at, "utc", at), "23:59:59 UTC");
    assert.equal(moment(at, "local", at + 1000), local[1]);
    assert.equal(moment(at, "local", at + 1e9), `${local[0]} ${local[1]}`);
    assert.equal(exact(at, "local"), `${local[0]} ${local[1]}.120 ${local[2]}`);
    assert.equal(exact(at, "utc"), "2026-01-31 23:59:59.120 UTC");
    assert.equal(clock(at, "local"), `${local[1]}.120`);
  });
}
