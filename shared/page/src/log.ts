/**
 * The lines of one attempt's log, in blocks of 200 that only grow. Kept are the first lines and the latest ones: a gap in between has
 * a place and a size.
 */

import type { LogChunk } from "./api.ts";
import { LineReader, type Link, type Line } from "./ansi.ts";

export const LINES_PER_BLOCK = 200;
/** A longer line is cut when it is shown. */
export const LONGEST_LINE = 16 * 1024;

/** How much of a log is kept. */
export interface Limits {
  lines: number;
  /** The length of all text together, in UTF-16 units. */
  size: number;
  /** Lines at the beginning that are never given up. */
  head: number;
}
export const LIMITS: Limits = { lines: 200_000, size: 32 * 1024 * 1024, head: 5000 };

/** A part of a log that is one text node on the screen. */
export interface Block {
  /** The number of its first line, from 1. */
  first: number;
  /** The lines, each with a line end. */
  text: string;
  /** The position of each line in the text. */
  starts: number[];
  /** When the worker read the piece that holds the line. */
  times: number[];
  /** Ranges with a style, as triples: start, end, style. */
  styles: number[];
  links: Link[];
}

/** What a `push` changed. */
export interface Change {
  /** Blocks that are new or have grown. */
  grown: Block[];
  /** Blocks that were given up, to stay within the limits. */
  dropped: Block[];
}

/** A piece without a line end at its end is a whole line, unless it is so long that it must be a part of one: as `wfg logs` has it. */
const PART = 16 * 1024;

export class Log {
  readonly blocks: Block[] = [];
  /** The number of lines so far, those that were given up among them. */
  lines = 0;
  /** The lines that were given up, between the first ones and the latest. */
  dropped = 0;
  #limits: Limits;
  #size = 0;
  #kept = 0;
  #last = -1;
  #readers = { stdout: new LineReader(), stderr: new LineReader() };
  #rest = { stdout: "", stderr: "" };

  constructor(limits: Limits = LIMITS) {
    this.#limits = limits;
  }

  /** Adds pieces. A piece that was seen before is left out. */
  push(chunks: readonly LogChunk[]): Change {
    const change: Change = { grown: [], dropped: [] };
    for (const chunk of chunks) {
      if (chunk.sequence <= this.#last) continue;
      this.#last = chunk.sequence;
      const stream = chunk.stream === "stderr" ? "stderr" : "stdout";
      const pieces = (this.#rest[stream] + chunk.data).split("\n");
      const end = pieces.pop()!;
      const goesOn = end !== "" && isPart(chunk.data);
      this.#rest[stream] = goesOn ? end : "";
      if (end !== "" && !goesOn) pieces.push(end);
      for (const line of pieces) this.#add(this.#readers[stream].read(line), chunk.timestamp_ms, change);
    }
    return change;
  }

  /** Shows what is left of a line that has no end: the log has ended. */
  finish(): Change {
    const change: Change = { grown: [], dropped: [] };
    for (const stream of ["stdout", "stderr"] as const) {
      const rest = this.#rest[stream];
      this.#rest[stream] = "";
      if (rest !== "") this.#add(this.#readers[stream].read(rest), this.blocks.at(-1)?.times.at(-1) ?? 0, change);
    }
    return change;
  }

  /** The block of a line, from 1; none if the line is not kept. */
  blockOf(line: number): Block | undefined {
    let low = 0;
    let high = this.blocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.blocks[middle]!.first <= line) low = middle;
      else high = middle - 1;
    }
    const block = this.blocks[low];
    return block && line >= block.first && line < block.first + block.starts.length ? block : undefined;
  }

  #add(line: Line, time: number, change: Change): void {
    let block = this.blocks.at(-1);
    if (!block || block.starts.length >= LINES_PER_BLOCK) {
      block = { first: this.lines + 1, text: "", starts: [], times: [], styles: [], links: [] };
      this.blocks.push(block);
    }
    if (change.grown.at(-1) !== block) change.grown.push(block);
    append(block, line, time);
    this.lines++;
    this.#kept++;
    this.#size += Math.min(line.text.length, LONGEST_LINE);
    while (this.#kept > this.#limits.lines || this.#size > this.#limits.size) {
      if (!this.#dropOne(change)) break;
    }
  }

  /** The number of blocks that are never given up. */
  get headBlocks(): number {
    return Math.ceil(this.#limits.head / LINES_PER_BLOCK);
  }

  #dropOne(change: Change): boolean {
    const head = this.headBlocks;
    if (this.blocks.length <= head + 1) return false;
    const [block] = this.blocks.splice(head, 1);
    this.#kept -= block!.starts.length;
    this.#size -= block!.text.length - block!.starts.length;
    this.dropped += block!.starts.length;
    const at = change.grown.indexOf(block!);
    if (at >= 0) change.grown.splice(at, 1);
    change.dropped.push(block!);
    return true;
  }
}

function isPart(data: string): boolean {
  return data.length >= PART || (data.length * 3 >= PART && new TextEncoder().encode(data).length >= PART);
}

function append(block: Block, line: Line, time: number): void {
  const at = block.text.length;
  const isCut = line.text.length > LONGEST_LINE;
  const end = isCut ? LONGEST_LINE : line.text.length;
  block.starts.push(at);
  block.times.push(time);
  block.text += isCut ? `${line.text.slice(0, end)} … ${line.text.length - end} more characters\n` : `${line.text}\n`;
  for (let i = 0; i < line.styles.length && line.styles[i]! < end; i += 3) {
    block.styles.push(at + line.styles[i]!, at + Math.min(end, line.styles[i + 1]!), line.styles[i + 2]!);
  }
  for (const link of line.links) {
    if (link.start < end)
      block.links.push({ start: at + link.start, end: at + Math.min(end, link.end), url: link.url });
  }
}
