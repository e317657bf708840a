/** Finds the boxes of a layout that are in a rectangle, and the neighbours of a box on the screen. */

import type { Layout, Sizes } from "./layout.ts";

export class Grid {
  /** The boxes of each column from top to bottom, by the column's left side. */
  #columns: { left: number; boxes: Int32Array }[];
  #layout: Layout;
  #sizes: Sizes;

  constructor(layout: Layout, sizes: Sizes) {
    this.#layout = layout;
    this.#sizes = sizes;
    const columns = new Map<number, number[]>();
    layout.x.forEach((left, box) => {
      const column = columns.get(left);
      if (column) column.push(box);
      else columns.set(left, [box]);
    });
    this.#columns = [...columns]
      .sort(([a], [b]) => a - b)
      .map(([left, boxes]) => ({ left, boxes: Int32Array.from(boxes.sort((a, b) => layout.y[a]! - layout.y[b]!)) }));
  }

  /** The boxes that touch a rectangle, column by column. */
  within(left: number, top: number, right: number, bottom: number): number[] {
    const found: number[] = [];
    for (const column of this.#columns) {
      if (column.left + this.#sizes.width < left) continue;
      if (column.left > right) break;
      for (let i = this.#firstBelow(column.boxes, top - this.#sizes.height); i < column.boxes.length; i++) {
        const box = column.boxes[i]!;
        if (this.#layout.y[box]! > bottom) break;
        found.push(box);
      }
    }
    return found;
  }

  /** The box at a point. */
  at(x: number, y: number): number | undefined {
    return this.within(x, y, x, y)[0];
  }

  /** The box above or below in the same column. */
  beside(box: number, step: 1 | -1): number | undefined {
    const column = this.#columns.find(({ left }) => left === this.#layout.x[box]!);
    return column?.boxes[column.boxes.indexOf(box) + step];
  }

  #firstBelow(boxes: Int32Array, top: number): number {
    let [low, high] = [0, boxes.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#layout.y[boxes[middle]!]! < top) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
