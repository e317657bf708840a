import assert from "node:assert/strict";
import { test } from "node:test";
import { restyle } from "../../src/ansi.ts";
import { declarations } from "../../src/palette.ts";

type Rgb = [number, number, number];
/** The least contrast of text, as WCAG 2.2 AA has it. */
const CONTRAST = 4.5;
const LIGHT: Rgb = [251, 251, 252];
const DARK: Rgb = [16, 20, 26];

const linear = (part: number) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
const gamma = (part: number) => 255 * (part <= 0.0031308 ? 12.92 * part : 1.055 * part ** (1 / 2.4) - 0.055);

/** Red, green and blue with another lightness in OKLCH, as CSS computes it. */
function lighter(colour: Rgb, change: (l: number) => number): Rgb {
  const [r, g, b] = colour.map(linear) as Rgb;
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  const L = change(0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s);
  const A = 1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s;
  const B = 0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s;
  const l2 = (L + 0.3963377774 * A + 0.2158037573 * B) ** 3;
  const m2 = (L - 0.1055613458 * A - 0.0638541728 * B) ** 3;
  const s2 = (L - 0.0894841775 * A - 1.291485548 * B) ** 3;
  const parts = [
    4.0767416621 * l2 - 3.3077115913 * m2 + 0.2309699292 * s2,
    -1.2684380046 * l2 + 2.6097574011 * m2 - 0.3413193965 * s2,
    -0.0041960863 * l2 - 0.7034186147 * m2 + 1.707614701 * s2,
  ];
  return parts.map((part) => gamma(Math.min(1, Math.max(0, part)))) as Rgb;
}

function contrast(a: Rgb, b: Rgb): number {
  const luminance = (c: Rgb) => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high! + 0.05) / (low! + 0.05);
}

/** The colours of `light-dark(oklch(from X min(l,N) c h), ...)`, in both themes. */
function colours(text: string): { light: Rgb; dark: Rgb } {
  const [light, dark] = [...text.matchAll(/from #(\w{6}) (min|max)\(l,([\d.]+)\)/g)].map(([, hex, how, bound]) => {
    const colour = [0, 2, 4].map((at) => parseInt(hex!.slice(at, at + 2), 16)) as Rgb;
    return lighter(colour, (l) => Math[how as "min" | "max"](l, Number(bound)));
  });
  return { light: light!, dark: dark! };
}

test("every colour of text can be read in both themes", () => {
  for (let index = 0; index < 256; index++) {
    const { light, dark } = colours(declarations(restyle(0, `38;5;${index}`)));
    assert.ok(contrast(light, LIGHT) >= CONTRAST, `${index} light ${contrast(light, LIGHT)}`);
    assert.ok(contrast(dark, DARK) >= CONTRAST, `${index} dark ${contrast(dark, DARK)}`);
  }
});

test("text can be read on every background, in both themes", () => {
  for (let index = 0; index < 256; index++) {
    for (const front of [0, 7, 15, 21, 46, 196, 226, 231]) {
      const [on, text] = declarations(restyle(0, `48;5;${index};38;5;${front}`))
        .split(";")
        .map(colours);
      for (const theme of ["light", "dark"] as const) {
        const value = contrast(on![theme], text![theme]);
        assert.ok(value >= CONTRAST, `${front} on ${index}, ${theme}: ${value}`);
      }
    }
    const [on] = declarations(restyle(0, `48;5;${index}`))
      .split(";")
      .map(colours);
    assert.ok(
      contrast(on!.light, [28, 33, 40]) >= CONTRAST && contrast(on!.dark, [230, 234, 240]) >= CONTRAST,
      String(index),
    );
  }
});

test("inverse, bold, dim and lines have declarations that a highlight allows", () => {
  assert.equal(declarations(restyle(0, "7")), "background-color:var(--text);color:var(--log)");
  assert.equal(declarations(restyle(0, "2")), "color:var(--muted)");
  assert.equal(
    declarations(restyle(0, "1;4;9")),
    "text-decoration:underline line-through;text-shadow:.5px 0 0 currentcolor",
  );
});
