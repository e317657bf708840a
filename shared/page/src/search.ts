/** Search in a log: the positions of a text, without case, by block. */

import type { Block } from "./log.ts";

/** A match: its block, and its position in the block's text. */
export interface Match {
  block: Block;
  start: number;
}

export class Search {
  readonly text: string;
  /** The number of matches. */
  count = 0;
  #lower: string;
  #found = new Map<Block, number[]>();

  constructor(text: string, blocks: readonly Block[]) {
    this.text = text;
    this.#lower = text.toLowerCase();
    for (const block of blocks) this.update(block);
  }

  /** Searches a block that is new or has grown. */
  update(block: Block): void {
    if (this.#lower === "") return;
    const before = this.#found.get(block) ?? [];
    const found: number[] = [];
    // Lower case may have another length (`İ`); then positions would be wrong, and case counts.
    const lower = block.text.toLowerCase();
    const [all, wanted] = lower.length === block.text.length ? [lower, this.#lower] : [block.text, this.text];
    for (let at = all.indexOf(wanted); at >= 0; at = all.indexOf(wanted, at + wanted.length)) found.push(at);
    this.count += found.length - before.length;
    this.#found.set(block, found);
  }

  /** Forgets a block that was given up. */
  drop(block: Block): void {
    this.count -= this.#found.get(block)?.length ?? 0;
    this.#found.delete(block);
  }

  /** The positions of the matches in a block. */
  in(block: Block): readonly number[] {
    return this.#found.get(block) ?? [];
  }

  /** The number of a match, from 1. */
  place(match: Match, blocks: readonly Block[]): number {
    let before = 0;
    for (const block of blocks) {
      if (block === match.block) return before + this.in(block).indexOf(match.start) + 1;
      before += this.in(block).length;
    }
    return 0;
  }

  /** The next match after a position, or with `-1` the one before; past the end, it begins again at the other end. */
  next(blocks: readonly Block[], from: Match | undefined, step: 1 | -1): Match | undefined {
    if (this.count === 0) return undefined;
    const first = from ? blocks.indexOf(from.block) : step > 0 ? 0 : blocks.length - 1;
    for (let i = 0; i <= blocks.length; i++) {
      const block = blocks[(((first + i * step) % blocks.length) + blocks.length) % blocks.length]!;
      const isSame = i === 0 && from !== undefined;
      const found = this.in(block);
      const start =
        step > 0
          ? found.find((at) => !isSame || at > from!.start)
          : found.findLast((at) => !isSame || at < from!.start);
      if (start !== undefined) return { block, start };
    }
    return undefined;
  }
}
