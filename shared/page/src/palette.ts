/** Colours of a log's text that can be read on the background of both themes. */

import { BOLD, DIM, INVERSE, STRIKE, type Style, UNDERLINE, background, colour, rgb } from "./ansi.ts";

/** The 16 basic colours among the 256: black, red, green, yellow, blue, magenta, cyan, white, and the bright ones. */
const BASIC = [16, 160, 28, 136, 26, 133, 30, 244, 240, 203, 34, 172, 69, 170, 37, 255];

/** A colour in CSS, as `#rrggbb`. */
export function css(index: number): string {
  return `#${rgb(BASIC[index] ?? index)
    .map((part) => part.toString(16).padStart(2, "0"))
    .join("")}`;
}

/** A colour whose lightness is at most `low` in the light theme, and at least `high` in the dark one. */
function between(index: number, low: number, high: number): string {
  return `light-dark(oklch(from ${css(index)} min(l,${low}) c h),oklch(from ${css(index)} max(l,${high}) c h))`;
}

/** The declarations of a style, for `::highlight()`: colours, underlines and shadows are all that it allows. */
export function declarations(style: Style): string {
  let [front, back] = [colour(style), background(style)];
  const isInverse = (style & INVERSE) !== 0;
  if (isInverse) [front, back] = [back, front];
  const parts: string[] = [];
  if (back !== undefined) {
    // The lightness is turned with the theme, so that its text can be read.
    const on = css(back);
    parts.push(`background-color:light-dark(oklch(from ${on} max(l,.9) c h),oklch(from ${on} min(l,.29) c h))`);
    parts.push(`color:${front === undefined ? "var(--text)" : between(front, 0.3, 0.89)}`);
  } else if (isInverse) {
    parts.push("background-color:var(--text);color:var(--log)");
  } else if (front !== undefined) {
    parts.push(`color:${between(front, 0.5, 0.67)}`);
  } else if ((style & DIM) !== 0) {
    parts.push("color:var(--muted)");
  }
  const lines = [(style & UNDERLINE) !== 0 ? "underline" : "", (style & STRIKE) !== 0 ? "line-through" : ""].filter(
    Boolean,
  );
  if (lines.length > 0) parts.push(`text-decoration:${lines.join(" ")}`);
  // A highlight can't be bold: the text would move.
  if ((style & BOLD) !== 0) parts.push("text-shadow:.5px 0 0 currentcolor");
  return parts.join(";");
}
