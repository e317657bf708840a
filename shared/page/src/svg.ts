/** The graph as an SVG file: for a page of documentation, or to print. */

import { STATUSES } from "./api.ts";
import { type Boxes, worstOf } from "./boxes.ts";
import { type Pen, trace } from "./draw.ts";
import type { Layout, Sizes } from "./layout.ts";
import type { Run } from "./run.ts";
import { clean, cut, number } from "./text.ts";
import { MARKS } from "./marks.ts";

const COLOURS: Record<string, string> = {
  failure: "#b3131f",
  running: "#8a5a00",
  queued: "#57606a",
  cancelled: "#57606a",
  skipped: "#57606a",
  success: "#1a7f37",
};
const PADDING = 16;

function escape(text: string): string {
  return clean(text).replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Writes the SVG. It holds text and shapes only. */
export function svg(boxes: Boxes, layout: Layout, run: Run, sizes: Sizes): string {
  const parts: string[] = [];
  const fixed = (value: number) => String(Math.round(value * 10) / 10);
  let path = "";
  const point = (...values: number[]) => values.map(fixed).join(" ");
  const pen: Pen = {
    moveTo: (...to) => (path += `M${point(...to)}`),
    lineTo: (...to) => (path += `L${point(...to)}`),
    bezierCurveTo: (...to) => (path += `C${point(...to)}`),
  };
  for (let edge = 0; 2 * edge < boxes.edges.length; edge++) trace(pen, { boxes, layout, sizes }, edge, false);
  parts.push(`<path d="${path}" fill="none" stroke="#8c959f"/>`);
  for (let box = 0; box < boxes.count; box++) {
    const status = STATUSES[worstOf(boxes, box, run)]!;
    const members = boxes.members[box]!.length;
    const times = boxes.stacks[box]! < 0 ? "" : ` ×${number(members)}`;
    const name = escape(cut(boxes.names[box]!, 24 - times.length));
    parts.push(
      `<g transform="translate(${fixed(layout.x[box]!)} ${fixed(layout.y[box]!)})">` +
        `<rect width="${sizes.width}" height="${sizes.height}" rx="6" fill="#fff" stroke="#8c959f"/>` +
        `<path d="M2 6v${sizes.height - 12}" stroke="${COLOURS[status]}" stroke-width="4"/>` +
        `<text x="12" y="${sizes.height / 2 + 4}" fill="${COLOURS[status]}">${MARKS[status]}</text>` +
        `<text x="30" y="${sizes.height / 2 + 4}" fill="#1f2328">${name}${times}</text></g>`,
    );
  }
  const [width, height] = [fixed(layout.width + 2 * PADDING), fixed(layout.height + 2 * PADDING)];
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="${-PADDING} ${-PADDING} ${width} ${height}" ` +
    `font-family="system-ui, sans-serif" font-size="13"><title>${escape(run.facts.name)} #${run.facts.run}</title>` +
    `<rect x="${-PADDING}" y="${-PADDING}" width="100%" height="100%" fill="#fff"/>${parts.join("")}</svg>\n`
  );
}
