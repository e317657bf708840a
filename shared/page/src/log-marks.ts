/** Colours, links, search marks and the chosen line of a log, as highlights of ranges: the text itself is never replaced. */

import type { Style } from "./ansi.ts";
import type { Block } from "./log.ts";
import { declarations } from "./palette.ts";

/** More styles than this are not coloured: each needs a rule of its own. */
const MOST_STYLES = 1000;

/** What a search and an address mark in a block. */
export interface Marked {
  /** The positions of the matches. */
  found: readonly number[];
  /** The length of the text that was searched. */
  length: number;
  /** The position of the current match; -1: none. */
  current: number;
  /** The index of the chosen line; -1: none. */
  line: number;
}

export class Marks {
  #sheet: CSSStyleSheet | undefined;
  #highlights = new Map<string, Highlight>();
  #ranges = new Map<Element, [Highlight, AbstractRange][]>();

  /** Sets the marks of a block anew. A browser without highlights shows plain text. */
  paint(element: Element, text: Text, block: Block, marked: Marked): void {
    if (typeof Highlight === "undefined") return;
    this.remove(element);
    const ranges: [Highlight, AbstractRange][] = [];
    const add = (name: string, start: number, end: number, priority: number, style?: Style) => {
      const highlight = this.#highlight(name, priority, style);
      if (!highlight || end > text.length || start >= end) return;
      const range = new StaticRange({ startContainer: text, startOffset: start, endContainer: text, endOffset: end });
      highlight.add(range);
      ranges.push([highlight, range]);
    };
    for (let i = 0; i < block.styles.length; i += 3) {
      add(`wfg-s${block.styles[i + 2]}`, block.styles[i]!, block.styles[i + 1]!, 0, block.styles[i + 2]);
    }
    for (const link of block.links) add("wfg-link", link.start, link.end, 1);
    if (marked.line >= 0) add("wfg-line", block.starts[marked.line]!, block.starts[marked.line + 1] ?? text.length, 2);
    for (const start of marked.found) {
      const isCurrent = start === marked.current;
      add(isCurrent ? "wfg-current" : "wfg-found", start, start + marked.length, isCurrent ? 4 : 3);
    }
    this.#ranges.set(element, ranges);
  }

  /** Removes the marks of a block. */
  remove(element: Element): void {
    for (const [highlight, range] of this.#ranges.get(element) ?? []) highlight.delete(range);
    this.#ranges.delete(element);
  }

  /** Removes all marks. */
  clear(): void {
    for (const name of this.#highlights.keys()) CSS.highlights.delete(name);
    this.#highlights.clear();
    this.#ranges.clear();
    const sheet = this.#sheet;
    if (sheet) document.adoptedStyleSheets = document.adoptedStyleSheets.filter((each) => each !== sheet);
    this.#sheet = undefined;
  }

  #highlight(name: string, priority: number, style: Style | undefined): Highlight | undefined {
    const known = this.#highlights.get(name);
    if (known) return known;
    if (this.#highlights.size >= MOST_STYLES) return undefined;
    const highlight = new Highlight();
    highlight.priority = priority;
    this.#highlights.set(name, highlight);
    CSS.highlights.set(name, highlight);
    if (style !== undefined) this.#rule(name, style);
    return highlight;
  }

  #rule(name: string, style: Style): void {
    if (!this.#sheet) {
      this.#sheet = new CSSStyleSheet();
      document.adoptedStyleSheets = [...document.adoptedStyleSheets, this.#sheet];
    }
    this.#sheet.insertRule(`::highlight(${name}){${declarations(style)}}`);
  }
}
