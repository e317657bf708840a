import assert from "node:assert/strict";
import { test } from "node:test";
import { restyle } from "../../src/ansi.ts";
import { CONTRAST, contrast, declarations } from "../../src/palette.ts";

const hex = (text: string) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16)) as [number, number, number];

test("every colour of text can be read in both themes", () => {
  for (let index = 0; index < 256; index++) {
    const [light, dark] = declarations(restyle(0, `38;5;${index}`)).match(/#\w{6}/g)!;
    assert.ok(contrast(hex(light!), [251, 251, 252]) >= CONTRAST, `${index} light ${light}`);
    assert.ok(contrast(hex(dark!), [16, 20, 26]) >= CONTRAST, `${index} dark ${dark}`);
  }
});

test("text can be read on every background", () => {
  for (let index = 0; index < 256; index++) {
    for (const front of ["", ";31", ";38;5;226"]) {
      const [back, text] = declarations(restyle(0, `48;5;${index}${front}`)).match(/#\w{6}/g)!;
      assert.ok(contrast(hex(back!), hex(text!)) >= CONTRAST, `${index}${front} ${back} ${text}`);
    }
  }
});

test("inverse, bold, dim and lines have declarations that a highlight allows", () => {
  assert.equal(declarations(restyle(0, "7")), "background-color:var(--text);color:var(--log)");
  assert.equal(declarations(restyle(0, "2")), "color:var(--muted)");
  assert.equal(declarations(restyle(0, "1;4;9")), "text-decoration:underline line-through;text-shadow:.5px 0 0 currentcolor");
});
