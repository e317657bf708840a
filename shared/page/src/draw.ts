/** Draws the edges of a graph, and its boxes when they are far away, on a canvas. */

import { STATUSES } from "./api.ts";
import type { Boxes } from "./boxes.ts";
import type { Layout, Sizes } from "./layout.ts";

/** With more edges than this in view, they are straight: thousands of curves take longer than a frame. */
const MOST_CURVES = 3000;

export interface Theme {
  edge: string;
  dim: string;
  accent: string;
  panel: string;
  text: string;
  status: string[];
}

/** The colours of the page's style sheet. */
export function readTheme(element: Element): Theme {
  const style = getComputedStyle(element);
  const of = (name: string) => style.getPropertyValue(name).trim();
  return {
    edge: of("--edge"),
    dim: of("--line"),
    accent: of("--accent"),
    panel: of("--panel"),
    text: of("--text"),
    status: STATUSES.map((status) => of(`--${status}`) || of("--muted")),
  };
}

export interface Shown {
  boxes: Boxes;
  layout: Layout;
  sizes: Sizes;
  /** The part of the graph that is in view. */
  view: { left: number; top: number; right: number; bottom: number };
  zoom: number;
  theme: Theme;
  /** What belongs to the chosen box; absent if none is chosen. */
  related: Uint8Array | undefined;
  /** The boxes of the critical path. */
  critical: Set<number>;
}

export function drawEdges(context: CanvasRenderingContext2D, shown: Shown): void {
  const { boxes, theme, zoom } = shown;
  const inView = edgesInView(shown);
  const isStraight = inView.length > MOST_CURVES;
  const kinds: { edges: number[]; colour: string; width: number }[] = [
    { edges: [], colour: shown.related ? theme.dim : theme.edge, width: 1 },
    { edges: [], colour: theme.text, width: 1.5 },
    { edges: [], colour: theme.accent, width: 2.5 },
  ];
  for (const edge of inView) {
    const [from, to] = [boxes.edges[2 * edge]!, boxes.edges[2 * edge + 1]!];
    const kind =
      shown.critical.has(from) && shown.critical.has(to) ? 2 : shown.related?.[from] && shown.related[to] ? 1 : 0;
    kinds[kind]!.edges.push(edge);
  }
  for (const { edges, colour, width } of kinds) {
    if (edges.length === 0) continue;
    context.beginPath();
    for (const edge of edges) trace(context, shown, edge, isStraight);
    context.strokeStyle = colour;
    // A line keeps its width on the screen when the graph is far away.
    context.lineWidth = width / Math.min(1, Math.max(zoom, 0.25));
    context.stroke();
  }
}

/** The edges whose frame touches the view. */
function edgesInView({ boxes, layout, sizes, view }: Shown): number[] {
  const found: number[] = [];
  for (let edge = 0; 2 * edge < boxes.edges.length; edge++) {
    const [from, to] = [boxes.edges[2 * edge]!, boxes.edges[2 * edge + 1]!];
    if (layout.x[to]! < view.left || layout.x[from]! + sizes.width > view.right) continue;
    let low = Math.min(layout.y[from]!, layout.y[to]!);
    let high = Math.max(layout.y[from]!, layout.y[to]!) + sizes.height;
    for (let p = layout.viaStart[edge]!; p < layout.viaStart[edge + 1]!; p++) {
      low = Math.min(low, layout.via[2 * p + 1]!);
      high = Math.max(high, layout.via[2 * p + 1]!);
    }
    if (high >= view.top && low <= view.bottom) found.push(edge);
  }
  return found;
}

/** What draws a line: a canvas, or the path of an SVG file. */
export interface Pen {
  moveTo(x: number, y: number): void;
  lineTo(x: number, y: number): void;
  bezierCurveTo(x1: number, y1: number, x2: number, y2: number, x: number, y: number): void;
}

/** Draws an edge through its points. */
export function trace(
  pen: Pen,
  { boxes, layout, sizes }: Pick<Shown, "boxes" | "layout" | "sizes">,
  edge: number,
  isStraight: boolean,
): void {
  const [from, to] = [boxes.edges[2 * edge]!, boxes.edges[2 * edge + 1]!];
  let x = layout.x[from]! + sizes.width;
  let y = layout.y[from]! + sizes.height / 2;
  pen.moveTo(x, y);
  const point = (nextX: number, nextY: number) => {
    const middle = (x + nextX) / 2;
    if (isStraight) pen.lineTo(nextX, nextY);
    else pen.bezierCurveTo(middle, y, middle, nextY, nextX, nextY);
    [x, y] = [nextX, nextY];
  };
  for (let p = layout.viaStart[edge]!; p < layout.viaStart[edge + 1]!; p++)
    point(layout.via[2 * p]!, layout.via[2 * p + 1]!);
  point(layout.x[to]!, layout.y[to]! + sizes.height / 2);
}

export interface ShownBoxes extends Shown {
  inView: readonly number[];
  /** The status of each box, as its place in `STATUSES`. */
  worst: Uint8Array;
  picked: number | undefined;
  found: Set<number>;
}

/** Draws the boxes as areas of their status' colour. The table of jobs says the same in words. */
export function drawBoxes(context: CanvasRenderingContext2D, shown: ShownBoxes): void {
  const { layout, sizes, theme, related } = shown;
  for (let code = 0; code < STATUSES.length; code++) {
    for (const isDim of [false, true]) {
      context.beginPath();
      let count = 0;
      for (const box of shown.inView) {
        if (shown.worst[box] !== code || (related !== undefined && !related[box]) !== isDim) continue;
        context.rect(layout.x[box]!, layout.y[box]!, sizes.width, sizes.height);
        count++;
      }
      if (count === 0) continue;
      context.globalAlpha = isDim ? 0.25 : 1;
      context.fillStyle = theme.status[code]!;
      context.fill();
    }
  }
  context.globalAlpha = 1;
  const marked = shown.inView.filter((box) => box === shown.picked || shown.found.has(box) || shown.critical.has(box));
  context.strokeStyle = theme.accent;
  context.lineWidth = 3 / Math.max(shown.zoom, 0.1);
  for (const box of marked) context.strokeRect(layout.x[box]!, layout.y[box]!, sizes.width, sizes.height);
}
