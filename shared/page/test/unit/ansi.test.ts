import assert from "node:assert/strict";
import { test } from "node:test";
import {
  BOLD,
  DIM,
  LineReader,
  UNDERLINE,
  background,
  colour,
  nearest,
  restyle,
  rgb,
  webAddress,
} from "../../src/ansi.ts";

const E = "\u001b";
const read = (text: string) => new LineReader().read(text);

test("colours become ranges of the text", () => {
  const line = read(`a ${E}[31mred${E}[0m ${E}[1;4;92mok${E}[m.`);
  assert.equal(line.text, "a red ok.");
  assert.deepEqual(line.styles.slice(0, 2), [2, 5]);
  assert.equal(colour(line.styles[2]!), 1);
  assert.deepEqual(line.styles.slice(3, 5), [6, 8]);
  assert.equal(colour(line.styles[5]!), 10);
  assert.equal(line.styles[5]! & (BOLD | UNDERLINE), BOLD | UNDERLINE);
});

test("colours of 256 and true colours are taken as the nearest", () => {
  assert.equal(colour(restyle(0, "38;5;208")), 208);
  assert.equal(background(restyle(0, "48;5;21")), 21);
  assert.equal(colour(restyle(0, "38;2;255;135;0")), 208);
  assert.equal(colour(restyle(0, "38:2:255:135:0")), 208);
  assert.deepEqual([restyle(restyle(0, "38;2;1;2;3;1"), "0")], [0]);
  assert.equal(nearest(128, 128, 128), 244);
  assert.equal(nearest(250, 3, 4), 196);
  for (let index = 16; index < 256; index++) assert.deepEqual(rgb(nearest(...rgb(index))), rgb(index));
});

test("a style is ended by its own code, and by no other", () => {
  const style = restyle(0, "1;2;4;33;44");
  assert.equal(restyle(style, "22") & (BOLD | DIM), 0);
  assert.equal(colour(restyle(style, "39")), undefined);
  assert.equal(background(restyle(style, "49")), undefined);
  assert.equal(colour(restyle(style, "49;99;777")), 3);
});

test("a style goes on over the line's end", () => {
  const reader = new LineReader();
  reader.read(`${E}[32mfirst`);
  assert.deepEqual(reader.read("second").styles.slice(0, 2), [0, 6]);
  assert.deepEqual(reader.read(`${E}[0mthird`).styles, []);
});

test("carriage returns give the last state of the line", () => {
  assert.equal(read("10 %\r 50 %\r100 %\r").text, "100 %");
  assert.equal(read("abcdef\rxy").text, "xycdef");
  assert.equal(read(`abcdef\r${E}[Kxy`).text, "xy");
  assert.equal(read("abc\b\bX").text, "aXc");
  assert.equal(read(`ab${E}[5Gx`).text, "ab  x");
  assert.equal(read("plain\r").text, "plain");
  assert.equal(read(`a${E}[999999999Gb`).text.length, 10_001);
});

test("links are kept only if they are http or https", () => {
  const link = (url: string) => read(`see ${E}]8;;${url}${E}\\here${E}]8;;${E}\\.`);
  assert.deepEqual(link("https://example.org/a").links, [{ start: 4, end: 8, url: "https://example.org/a" }]);
  assert.equal(link("https://example.org/a").text, "see here.");
  for (const bad of [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,x",
    "file:///etc/passwd",
    "//example.org",
    "vbscript:x",
  ]) {
    assert.deepEqual(link(bad).links, [], bad);
    assert.equal(link(bad).text, "see here.");
  }
  assert.equal(webAddress("https://example.org/\u202e"), "https://example.org/%E2%80%AE");
});

test("titles and movements are left out, other control characters are escaped", () => {
  assert.equal(read(`${E}]0;a title\u0007text`).text, "text");
  assert.equal(read(`${E}[2J${E}[1;1Htext`).text, "text");
  assert.equal(read("a\0b\u0007\u202ec\u2066").text, "a\\u{0}b\\u{7}\\u{202e}c\\u{2066}");
  assert.equal(read(`${E}]8;;never ends`).text, "\\u{1b}]8;;never ends");
  assert.equal(read("<script>alert(1)</script>\t🚀").text, "<script>alert(1)</script>\t🚀");
});

test("a long line of sequences is read in linear time", (t) => {
  const time = (size: number) => {
    const text = [`${E}]8;;`, `${E}[`, `${E}[31m`, "x\r", `${E}P`].map((part) => part.repeat(size)).join("");
    const start = process.cpuUsage().user;
    read(text);
    return (process.cpuUsage().user - start) / 1000;
  };
  time(2000);
  const [small, large] = [time(5000), time(50_000)];
  t.diagnostic(`5,000: ${small} ms, 50,000: ${large} ms`);
  assert.ok(large < 40 * Math.max(small, 5), `${small} ${large}`);
});
