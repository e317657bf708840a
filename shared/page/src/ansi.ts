/**
 * Terminal sequences in a line of a log: colours become ranges, a carriage return gives the line's last state, links of OSC 8 are kept
 * if they are `http` or `https`. Titles, cursor movements and other sequences are left out. Other control characters are escaped.
 */

import { cleanLine } from "./text.ts";

/** A style as a number, for a compact list of ranges. 0 is plain text. Bits 0 to 8: colour + 1; 9 to 17: background + 1; then flags. */
export type Style = number;
export const BOLD = 1 << 18;
export const DIM = 1 << 19;
export const UNDERLINE = 1 << 20;
export const STRIKE = 1 << 21;
export const INVERSE = 1 << 22;
const COLOUR = 0x1ff;

/** The text's colour from 0 to 255, if the style sets one. */
export function colour(style: Style): number | undefined {
  return (style & COLOUR) === 0 ? undefined : (style & COLOUR) - 1;
}

/** The background's colour from 0 to 255, if the style sets one. */
export function background(style: Style): number | undefined {
  const value = (style >> 9) & COLOUR;
  return value === 0 ? undefined : value - 1;
}

const LEVELS = [0, 95, 135, 175, 215, 255];

/** Red, green and blue of a colour from 16 to 255: a cube of 216 and 24 greys. */
export function rgb(index: number): [number, number, number] {
  if (index >= 232) {
    const grey = 8 + 10 * (index - 232);
    return [grey, grey, grey];
  }
  const cube = index - 16;
  return [LEVELS[Math.floor(cube / 36)]!, LEVELS[Math.floor(cube / 6) % 6]!, LEVELS[cube % 6]!];
}

/** The nearest colour from 16 to 255. */
export function nearest(red: number, green: number, blue: number): number {
  const level = (value: number) =>
    LEVELS.reduce((best, l, i) => (Math.abs(l - value) < Math.abs(LEVELS[best]! - value) ? i : best), 0);
  const cube = 16 + 36 * level(red) + 6 * level(green) + level(blue);
  const grey = 232 + Math.min(23, Math.max(0, Math.round(((red + green + blue) / 3 - 8) / 10)));
  const far = (index: number) => {
    const [r, g, b] = rgb(index);
    return (r - red) ** 2 + (g - green) ** 2 + (b - blue) ** 2;
  };
  return far(grey) < far(cube) ? grey : cube;
}

/** The codes that set a flag, and those that clear flags or a colour. */
const SETS: Record<number, number> = { 1: BOLD, 2: DIM, 4: UNDERLINE, 7: INVERSE, 9: STRIKE };
const CLEARS: Record<number, number> = {
  22: BOLD | DIM,
  24: UNDERLINE,
  27: INVERSE,
  29: STRIKE,
  39: COLOUR,
  49: COLOUR << 9,
};

/** The style after a sequence of parameters (SGR) that ends with `m`. */
export function restyle(style: Style, parameters: string): Style {
  const codes = parameters === "" ? [0] : parameters.split(/[;:]/).map((code) => (code === "" ? 0 : Number(code)));
  let next = style;
  const front = (index: number) => (next = (next & ~COLOUR) | (index + 1));
  const back = (index: number) => (next = (next & ~(COLOUR << 9)) | ((index + 1) << 9));
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i]!;
    if (code === 0) next = 0;
    else if (SETS[code]) next |= SETS[code];
    else if (CLEARS[code]) next &= ~CLEARS[code];
    else if (code >= 30 && code <= 37) front(code - 30);
    else if (code >= 40 && code <= 47) back(code - 40);
    else if (code >= 90 && code <= 97) front(code - 82);
    else if (code >= 100 && code <= 107) back(code - 92);
    else if (code === 38 || code === 48) {
      const [index, used] = extended(codes, i + 1);
      if (index !== undefined) (code === 38 ? front : back)(index);
      i += used;
    }
  }
  return next;
}

/** A colour of 256 (`5;n`) or a true one (`2;r;g;b`), and the number of parameters that it takes. */
function extended(codes: number[], at: number): [number | undefined, number] {
  const byte = (value: number | undefined) => Math.min(255, Math.max(0, value ?? 0));
  if (codes[at] === 5) return [byte(codes[at + 1]), 2];
  if (codes[at] === 2) return [nearest(byte(codes[at + 1]), byte(codes[at + 2]), byte(codes[at + 3])), 4];
  return [undefined, 1];
}

/** A line as it is shown. */
export interface Line {
  text: string;
  /** Ranges of the text that have a style, as triples: start, end, style. */
  styles: number[];
  links: Link[];
}

export interface Link {
  start: number;
  end: number;
  url: string;
}

/** CSI; OSC up to its end; DCS, SOS, PM and APC; other escapes; carriage return; backspace. */
const SEQUENCE =
  /\u001b\[([0-?]*)[ -/]*([@-~])|\u001b\]([^\u0007\u001b]*)(?:\u0007|\u001b\\)|\u001b[PX^_][^\u001b]*\u001b\\|\u001b[()*+][0-9A-Z]|\u001b[=>78cDEHMZ]|\r|\u0008/g;
const HAS_CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/;

/** Reads the lines of one stream. A style goes on over the line's end, as in a terminal. */
export class LineReader {
  #style: Style = 0;
  #link: string | undefined;

  /** Reads a line without its line end. */
  read(raw: string): Line {
    const line = raw.replace(/\r+$/, "");
    const writer = /[\r\u0008]|\u001b\[[0-?]*[CDGK]/.test(line) ? new CellWriter() : new PlainWriter();
    let at = 0;
    if (HAS_CONTROL.test(line)) {
      for (const match of line.matchAll(SEQUENCE)) {
        writer.write(cleanLine(line.slice(at, match.index)), this.#style, this.#link);
        at = match.index + match[0].length;
        this.#apply(match, writer);
      }
    }
    writer.write(cleanLine(line.slice(at)), this.#style, this.#link);
    return writer.finish();
  }

  #apply([all, parameters, final, command]: RegExpMatchArray, writer: Writer): void {
    if (final === "m") this.#style = restyle(this.#style, parameters ?? "");
    else if (all === "\r") writer.move?.(0, "to");
    else if (all === "\u0008") writer.move?.(-1, "by");
    else if (final === "K") writer.erase?.(Number(parameters || 0));
    else if (final === "G") writer.move?.(Number(parameters || 1) - 1, "to");
    else if (final === "C") writer.move?.(Number(parameters || 1), "by");
    else if (final === "D") writer.move?.(-Number(parameters || 1), "by");
    else if (command?.startsWith("8;")) this.#link = webAddress(command.slice(command.indexOf(";", 2) + 1));
  }
}

/** The address if it is `http` or `https`, in its normal form. */
export function webAddress(text: string): string | undefined {
  try {
    const url = new URL(text);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : undefined;
  } catch {
    return undefined;
  }
}

interface Writer {
  write(text: string, style: Style, link: string | undefined): void;
  move?(columns: number, how: "to" | "by"): void;
  erase?(what: number): void;
  finish(): Line;
}

/** Writes text from left to right. */
class PlainWriter implements Writer {
  #parts: string[] = [];
  #length = 0;
  #styles: number[] = [];
  #links: Link[] = [];

  write(text: string, style: Style, link: string | undefined): void {
    if (text === "") return;
    const [start, end] = [this.#length, this.#length + text.length];
    this.#parts.push(text);
    this.#length = end;
    if (style !== 0) extend(this.#styles, start, end, style);
    if (link === undefined) return;
    const last = this.#links.at(-1);
    if (last?.url === link && last.end === start) last.end = end;
    else this.#links.push({ start, end, url: link });
  }

  finish(): Line {
    return { text: this.#parts.join(""), styles: this.#styles, links: this.#links };
  }
}

function extend(styles: number[], start: number, end: number, style: Style): void {
  const last = styles.length - 3;
  if (last >= 0 && styles[last + 1] === start && styles[last + 2] === style) styles[last + 1] = end;
  else styles.push(start, end, style);
}

/** No terminal is wider. A position beyond is this one. */
const WIDEST = 10_000;

/** Writes into cells, as a terminal does, for lines that go back and write over what is there. */
class CellWriter implements Writer {
  #cells: { text: string; style: Style; link: string | undefined }[] = [];
  #at = 0;

  write(text: string, style: Style, link: string | undefined): void {
    for (const character of text) this.#cells[this.#at++] = { text: character, style, link };
  }

  move(columns: number, how: "to" | "by"): void {
    const at = how === "to" ? columns : this.#at + columns;
    this.#at = Math.max(0, Math.min(at, Math.max(WIDEST, this.#cells.length)));
    while (this.#cells.length < this.#at) this.#cells.push({ text: " ", style: 0, link: undefined });
  }

  erase(what: number): void {
    const blank = { text: " ", style: 0, link: undefined };
    if (what === 0) this.#cells.length = Math.min(this.#cells.length, this.#at);
    else if (what === 1) this.#cells.fill(blank, 0, Math.min(this.#at + 1, this.#cells.length));
    else this.#cells = Array.from({ length: this.#at }, () => blank);
  }

  finish(): Line {
    const plain = new PlainWriter();
    for (const cell of this.#cells) plain.write(cell.text, cell.style, cell.link);
    return plain.finish();
  }
}
