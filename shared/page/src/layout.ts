/**
 * A layered layout of a directed acyclic graph, from left to right.
 *
 * 1. Layers: the longest path from a source. 2. Order in each layer: barycentre sweeps. 3. Positions: least squares towards the
 * neighbours, in each layer, under the order. Every step is deterministic and close to linear in jobs and needs.
 */

/** Sizes in pixels at zoom 1. */
export interface Sizes {
  /** A box's width. */
  width: number;
  /** A box's height. */
  height: number;
  /** The space between two layers. */
  gapX: number;
  /** The least space between two boxes of a layer. */
  gapY: number;
}

/** Positions of the boxes and of the points that long edges pass through. */
export interface Layout {
  /** The left side of each box. */
  x: Float32Array;
  /** The top of each box. */
  y: Float32Array;
  width: number;
  height: number;
  /** Edge `e` passes through the points `viaStart[e]` up to `viaStart[e + 1]` of `via`. */
  viaStart: Int32Array;
  /** Points as pairs of x and y. */
  via: Float32Array;
}

/** An edge over more layers than this is drawn straight, without points in between: they would cost more than they help. */
const LONGEST_BENT = 12;
const ORDER_SWEEPS = 8;
const PLACE_SWEEPS = 6;
/** The space that an edge takes in a layer that it passes. */
const LANE = 12;

/** Neighbours of all vertices in one array: those of `v` are `items[start[v]]` up to `items[start[v + 1]]`. */
interface Neighbours {
  start: Int32Array;
  items: Int32Array;
}

/**
 * Lays out a graph.
 *
 * `edges` holds pairs: a box that is needed, and the box that needs it. Throws if the graph has a cycle.
 */
export function layout(count: number, edges: Int32Array, sizes: Sizes): Layout {
  const layer = layers(count, edges);
  const graph = withLanes(count, edges, layer);
  const columns = columnsOf(graph.layer);
  order(columns, graph);
  const y = place(columns, graph, count, sizes);
  return finish(count, graph, layer, y, sizes);
}

function neighbours(count: number, pairs: Int32Array, from: 0 | 1): Neighbours {
  const start = new Int32Array(count + 1);
  for (let e = from; e < pairs.length; e += 2) start[pairs[e]! + 1]!++;
  for (let v = 0; v < count; v++) start[v + 1]! += start[v]!;
  const items = new Int32Array(pairs.length / 2);
  const next = start.slice(0, count);
  for (let e = 0; e < pairs.length; e += 2) items[next[pairs[e + from]!]!++] = pairs[e + 1 - from]!;
  return { start, items };
}

/** The layer of each box: the longest path to it. A source moves next to the first box that needs it. */
function layers(count: number, edges: Int32Array): Int32Array {
  const after = neighbours(count, edges, 0);
  const open = new Int32Array(count);
  for (let e = 1; e < edges.length; e += 2) open[edges[e]!]!++;
  const isSource = Array.from(open, (needs) => needs === 0);
  const layer = new Int32Array(count);
  const queue = new Int32Array(count);
  let tail = 0;
  for (let v = 0; v < count; v++) if (isSource[v]) queue[tail++] = v;
  for (let head = 0; head < tail; head++) {
    const v = queue[head]!;
    for (let i = after.start[v]!; i < after.start[v + 1]!; i++) {
      const w = after.items[i]!;
      layer[w] = Math.max(layer[w]!, layer[v]! + 1);
      if (--open[w]! === 0) queue[tail++] = w;
    }
  }
  if (tail < count) throw new Error("the graph has a cycle");
  for (let v = 0; v < count; v++) {
    if (!isSource[v] || after.start[v] === after.start[v + 1]) continue;
    let first = Infinity;
    for (let i = after.start[v]!; i < after.start[v + 1]!; i++) first = Math.min(first, layer[after.items[i]!]!);
    layer[v] = first - 1;
  }
  return layer;
}

/** The graph with a vertex for each layer that an edge passes. */
interface Laned {
  layer: Int32Array;
  before: Neighbours;
  after: Neighbours;
  /** The first of the vertices that stand for edge `e`, and their number. */
  firstLane: Int32Array;
  lanes: Int32Array;
}

function withLanes(count: number, edges: Int32Array, layer: Int32Array): Laned {
  const number = edges.length / 2;
  const firstLane = new Int32Array(number);
  const lanes = new Int32Array(number);
  let total = count;
  for (let e = 0; e < number; e++) {
    const span = layer[edges[2 * e + 1]!]! - layer[edges[2 * e]!]!;
    firstLane[e] = total;
    lanes[e] = span <= LONGEST_BENT ? span - 1 : 0;
    total += lanes[e]!;
  }
  const all = new Int32Array(total);
  all.set(layer);
  const pairs = new Int32Array(2 * (number + total - count));
  let p = 0;
  for (let e = 0; e < number; e++) {
    let last = edges[2 * e]!;
    for (let k = 0; k < lanes[e]!; k++) {
      const lane = firstLane[e]! + k;
      all[lane] = all[last]! + 1;
      pairs[p++] = last;
      pairs[p++] = lane;
      last = lane;
    }
    pairs[p++] = last;
    pairs[p++] = edges[2 * e + 1]!;
  }
  return { layer: all, before: neighbours(total, pairs, 1), after: neighbours(total, pairs, 0), firstLane, lanes };
}

function columnsOf(layer: Int32Array): Int32Array[] {
  let last = -1;
  for (const l of layer) last = Math.max(last, l);
  const sizes = new Int32Array(last + 1);
  for (const l of layer) sizes[l]!++;
  const columns = Array.from(sizes, (size) => new Int32Array(size));
  sizes.fill(0);
  for (let v = 0; v < layer.length; v++) columns[layer[v]!]![sizes[layer[v]!]!++] = v;
  return columns;
}

/** Sorts each column by the mean position of the neighbours, to and fro. Sorting is stable, so equal boxes keep their order. */
function order(columns: Int32Array[], graph: Laned): void {
  const position = new Float64Array(graph.layer.length);
  const wanted = new Float64Array(graph.layer.length);
  const number = (column: Int32Array) => column.forEach((v, i) => (position[v] = i));
  columns.forEach(number);
  for (let sweep = 0; sweep < ORDER_SWEEPS; sweep++) {
    const forth = sweep % 2 === 0;
    const side = forth ? graph.before : graph.after;
    for (let k = 0; k < columns.length; k++) {
      const column = columns[forth ? k : columns.length - 1 - k]!;
      for (const v of column) wanted[v] = mean(side, position, v) ?? position[v]!;
      column.sort((a, b) => wanted[a]! - wanted[b]! || position[a]! - position[b]!);
      number(column);
    }
  }
}

function mean(side: Neighbours, values: Float64Array, v: number): number | undefined {
  const from = side.start[v]!;
  const to = side.start[v + 1]!;
  if (from === to) return undefined;
  let sum = 0;
  for (let i = from; i < to; i++) sum += values[side.items[i]!]!;
  return sum / (to - from);
}

/** The centre of each vertex. Sweeps to and fro move a column towards its neighbours; the last ones look at both sides. */
function place(columns: Int32Array[], graph: Laned, count: number, sizes: Sizes): Float64Array {
  const y = new Float64Array(graph.layer.length);
  const half = (v: number) => (v < count ? (sizes.height + sizes.gapY) / 2 : LANE / 2);
  for (const column of columns) {
    let total = 0;
    for (const v of column) {
      y[v] = total + half(v);
      total += 2 * half(v);
    }
    for (const v of column) y[v]! -= total / 2;
  }
  for (let sweep = 0; sweep < PLACE_SWEEPS; sweep++) {
    const forth = sweep % 2 === 0;
    const near = forth ? graph.before : graph.after;
    const far = forth ? graph.after : graph.before;
    const both = sweep >= PLACE_SWEEPS - 2;
    for (let k = 0; k < columns.length; k++) {
      placeColumn(columns[forth ? k : columns.length - 1 - k]!, y, half, (v) => {
        const a = mean(near, y, v);
        const b = both ? mean(far, y, v) : undefined;
        if (a === undefined || b === undefined) return a ?? b ?? y[v]!;
        return (a + b) / 2;
      });
    }
  }
  return y;
}

/**
 * Places the vertices of a column as near as possible, by the sum of squares, to where they want to be, in their order and without
 * overlap: isotonic regression by pooling adjacent violators.
 */
function placeColumn(
  column: Int32Array,
  y: Float64Array,
  half: (v: number) => number,
  want: (v: number) => number,
): void {
  const at: number[] = [];
  const size: number[] = [];
  const offset = new Float64Array(column.length);
  for (let i = 0; i < column.length; i++) {
    const v = column[i]!;
    if (i > 0) offset[i] = offset[i - 1]! + half(column[i - 1]!) + half(v);
    let block = want(v) - offset[i]!;
    let members = 1;
    while (at.length > 0 && at[at.length - 1]! > block) {
      const n = size.pop()!;
      block = (at.pop()! * n + block * members) / (n + members);
      members += n;
    }
    at.push(block);
    size.push(members);
  }
  let i = 0;
  for (let block = 0; block < at.length; block++) {
    for (let n = 0; n < size[block]!; n++, i++) y[column[i]!] = at[block]! + offset[i]!;
  }
}

function finish(count: number, graph: Laned, layer: Int32Array, centre: Float64Array, sizes: Sizes): Layout {
  let top = Infinity;
  let bottom = -Infinity;
  for (const y of centre) {
    top = Math.min(top, y - sizes.height / 2);
    bottom = Math.max(bottom, y + sizes.height / 2);
  }
  const step = sizes.width + sizes.gapX;
  const x = new Float32Array(count);
  const y = new Float32Array(count);
  let last = 0;
  for (let v = 0; v < count; v++) {
    x[v] = layer[v]! * step;
    y[v] = centre[v]! - sizes.height / 2 - top;
    last = Math.max(last, layer[v]!);
  }
  const edges = graph.lanes.length;
  const viaStart = new Int32Array(edges + 1);
  for (let e = 0; e < edges; e++) viaStart[e + 1] = viaStart[e]! + graph.lanes[e]!;
  const via = new Float32Array(2 * viaStart[edges]!);
  let p = 0;
  for (let e = 0; e < edges; e++) {
    for (let k = 0; k < graph.lanes[e]!; k++) {
      const lane = graph.firstLane[e]! + k;
      via[p++] = graph.layer[lane]! * step + sizes.width / 2;
      via[p++] = centre[lane]! - top;
    }
  }
  const height = count === 0 ? 0 : bottom - top;
  return { x, y, width: count === 0 ? 0 : last * step + sizes.width, height, viaStart, via };
}
