/** Colours of a log's text that can be read on the background of both themes. */

import { BOLD, DIM, INVERSE, STRIKE, type Style, UNDERLINE, background, colour, rgb } from "./ansi.ts";

type Rgb = readonly [number, number, number];
const LIGHT: Rgb = [251, 251, 252];
const DARK: Rgb = [16, 20, 26];
/** The least contrast of text, as WCAG 2.2 AA has it. */
export const CONTRAST = 4.5;

function luminance(colour: Rgb): number {
  const [r, g, b] = colour.map((part) => {
    const value = part / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
}

/** The contrast of two colours, from 1 to 21. */
export function contrast(a: Rgb, b: Rgb): number {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high! + 0.05) / (low! + 0.05);
}

/** The colour, moved towards black or white until it can be read on the background. */
export function readable(colour: Rgb, on: Rgb): Rgb {
  const towards = luminance(on) > 0.18 ? 0 : 255;
  let shown = colour;
  for (let step = 1; contrast(shown, on) < CONTRAST && step <= 20; step++) {
    shown = colour.map((part) => Math.round(part + ((towards - part) * step) / 20)) as unknown as Rgb;
  }
  return shown;
}

/** The 16 basic colours, before they are made readable: black, red, green, yellow, blue, magenta, cyan, white, and the bright ones. */
const BASIC: readonly Rgb[] = [
  [0, 0, 0], [187, 20, 28], [20, 122, 46], [138, 97, 0], [28, 86, 196], [140, 48, 168], [4, 116, 132], [120, 124, 132],
  [90, 94, 102], [218, 48, 56], [30, 160, 66], [176, 130, 0], [60, 120, 236], [178, 84, 206], [14, 152, 172], [240, 240, 242],
];

function rgbOf(index: number): Rgb {
  return index < 16 ? BASIC[index]! : rgb(index);
}

function css([r, g, b]: Rgb): string {
  return `#${[r, g, b].map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}

/** The declarations of a style, for `::highlight()`: colours, underlines and shadows are all that it allows. */
export function declarations(style: Style): string {
  let [front, back] = [colour(style), background(style)];
  if ((style & INVERSE) !== 0) [front, back] = [back ?? -1, front ?? -2];
  const parts: string[] = [];
  if (back !== undefined) {
    const on = back === -2 ? undefined : rgbOf(back);
    parts.push(`background-color:${on ? css(on) : "var(--text)"}`);
    const text = front === undefined || front < 0 ? undefined : rgbOf(front);
    if (on) parts.push(`color:${css(readable(text ?? on, on))}`);
    else parts.push("color:var(--log)");
  } else if (front !== undefined) {
    const text = rgbOf(front);
    parts.push(`color:light-dark(${css(readable(text, LIGHT))},${css(readable(text, DARK))})`);
  } else if ((style & DIM) !== 0) {
    parts.push("color:var(--muted)");
  }
  const lines = [(style & UNDERLINE) !== 0 ? "underline" : "", (style & STRIKE) !== 0 ? "line-through" : ""].filter(Boolean);
  if (lines.length > 0) parts.push(`text-decoration:${lines.join(" ")}`);
  // A highlight can't be bold: the text would move.
  if ((style & BOLD) !== 0) parts.push("text-shadow:.5px 0 0 currentcolor");
  return parts.join(";");
}
