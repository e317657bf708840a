/**
 * Shows a log: one text node for a block of 200 lines, which only grows. So the browser's own search, selections and screen readers work,
 * and a log of 100,000 lines has about 500 elements. Colours and search marks are highlights of ranges, near the view only.
 */

import type { Block, Change, Log } from "./log.ts";
import { Marks } from "./log-marks.ts";
import { type Match, Search } from "./search.ts";
import { number } from "./text.ts";

/** The height of a line in pixels: as in the style sheet. */
const LINE_HEIGHT = 18;
/** How far beyond the view colours are set, in pixels. */
const NEAR = 600;
/** A view this near to the end is at the end, in pixels. */
const AT_END = 8;

interface Shown {
  block: Block;
  element: HTMLPreElement;
  text: Text;
}

/** What the toolbar shows. */
export interface LogViewState {
  following: boolean;
  paused: boolean;
  /** Lines that arrived during a pause. */
  held: number;
  matches: number;
  /** The number of the current match, from 1; 0: none. */
  match: number;
}

export interface LogViewOptions {
  /** The address of a line. */
  href(line: number): string;
  /** The text beside a line: its time. */
  time(ms: number): string;
  onState(state: LogViewState): void;
}

export class LogView {
  #host: HTMLElement;
  #lines = document.createElement("div");
  #gutter = document.createElement("div");
  #gap = document.createElement("p");
  #log: Log;
  #options: LogViewOptions;
  #shown = new Map<Block, Shown>();
  #byElement = new Map<Element, Shown>();
  #near = new Set<Shown>();
  #marks = new Marks();
  #observer: IntersectionObserver;
  #resized: ResizeObserver;
  #search: Search | undefined;
  #match: Match | undefined;
  #wanted: number | undefined;
  #line: number | undefined;
  #following = true;
  #paused = false;
  #pausedAt = 0;
  #held = 0;
  #wrap = false;
  #times = false;
  #lastTop = 0;
  #frame = 0;
  #stop = new AbortController();

  constructor(host: HTMLElement, log: Log, options: LogViewOptions) {
    this.#host = host;
    this.#log = log;
    this.#options = options;
    this.#lines.className = "lines";
    this.#gutter.className = "gutter";
    this.#gutter.setAttribute("aria-hidden", "true");
    this.#gap.className = "gap";
    this.#lines.append(this.#gutter);
    host.replaceChildren(this.#lines);
    this.#observer = new IntersectionObserver((entries) => this.#seen(entries), {
      root: host,
      rootMargin: `${NEAR}px`,
    });
    this.#resized = new ResizeObserver(() => this.#later());
    this.#resized.observe(host);
    host.addEventListener("scroll", () => this.#scrolled(), { signal: this.#stop.signal, passive: true });
    host.addEventListener("click", (event) => this.#openLink(event), { signal: this.#stop.signal });
    this.change({ grown: log.blocks, dropped: [] });
  }

  destroy(): void {
    this.#stop.abort();
    this.#observer.disconnect();
    this.#resized.disconnect();
    cancelAnimationFrame(this.#frame);
    this.#marks.clear();
  }

  /** Shows what changed in the log. */
  change(change: Change): void {
    for (const block of change.grown) this.#search?.update(block);
    for (const block of change.dropped) this.#search?.drop(block);
    if (this.#paused) {
      this.#held = this.#log.lines - this.#pausedAt;
      this.#report();
      return;
    }
    for (const block of change.dropped) this.#remove(block);
    for (const block of change.grown) this.#grow(block);
    this.#showGap();
    if (this.#wanted !== undefined) this.goToLine(this.#wanted);
    // The first match may arrive after the search was typed.
    if (this.#search && !this.#match) this.#next(1, undefined);
    if (this.#following) this.#toEnd();
    this.#later();
    this.#report();
  }

  follow(on: boolean): void {
    this.#following = on;
    if (on) {
      if (this.#paused) this.pause(false);
      this.#toEnd();
    }
    this.#report();
  }

  /** Holds back new lines, or shows those that were held back. */
  pause(on: boolean): void {
    this.#paused = on;
    this.#pausedAt = this.#log.lines;
    this.#held = 0;
    if (!on) {
      const kept = new Set(this.#log.blocks);
      this.change({ grown: this.#log.blocks, dropped: [...this.#shown.keys()].filter((block) => !kept.has(block)) });
    }
    this.#report();
  }

  wrap(on: boolean): void {
    const top = this.#topLine();
    this.#wrap = on;
    this.#lines.classList.toggle("wrap", on);
    if (this.#following) this.#toEnd();
    else if (top !== undefined) this.#scrollTo(top, "top");
    this.#later();
  }

  times(on: boolean): void {
    this.#times = on;
    this.#lines.classList.toggle("times", on);
    this.#later();
  }

  /** Shows a line, and marks it. Waits for it if it has not arrived. */
  goToLine(line: number): void {
    this.#line = line;
    const block = this.#log.blockOf(line);
    this.#wanted = block || line <= this.#log.lines ? undefined : line;
    if (block && this.#shown.has(block)) {
      this.#following = false;
      this.#scrollTo(line, "middle");
      this.#paintAll();
    }
    this.#report();
  }

  /** Searches. An empty text ends the search. */
  search(text: string): void {
    this.#search = text === "" ? undefined : new Search(text, this.#log.blocks);
    this.#match = undefined;
    if (this.#search) this.#next(1, this.#topBlock());
    this.#paintAll();
    this.#report();
  }

  /** Goes to the next match, or with `-1` to the one before. */
  next(step: 1 | -1): void {
    this.#next(step, this.#match);
    this.#paintAll();
    this.#report();
  }

  #next(step: 1 | -1, from: Match | undefined): void {
    this.#match = this.#search?.next(this.#log.blocks, from, step);
    if (!this.#match) return;
    this.#following = false;
    const shown = this.#shown.get(this.#match.block);
    if (shown) this.#reveal(shown, this.#match.start, this.#match.start + this.#search!.text.length);
  }

  #grow(block: Block): void {
    let shown = this.#shown.get(block);
    if (!shown) {
      const element = document.createElement("pre");
      const text = document.createTextNode("");
      element.append(text);
      shown = { block, element, text };
      this.#shown.set(block, shown);
      this.#byElement.set(element, shown);
      this.#lines.append(element);
      this.#observer.observe(element);
    }
    if (shown.text.length === block.text.length) return;
    shown.text.appendData(block.text.slice(shown.text.length));
    shown.element.style.containIntrinsicHeight = `auto ${block.starts.length * LINE_HEIGHT}px`;
    if (this.#near.has(shown)) this.#paint(shown);
  }

  #remove(block: Block): void {
    const shown = this.#shown.get(block);
    if (!shown) return;
    this.#observer.unobserve(shown.element);
    this.#marks.remove(shown.element);
    this.#near.delete(shown);
    this.#shown.delete(block);
    this.#byElement.delete(shown.element);
    if (this.#match?.block === block) this.#match = undefined;
    shown.element.remove();
  }

  #showGap(): void {
    if (this.#log.dropped === 0) return;
    this.#gap.textContent = `${number(this.#log.dropped)} lines are not shown here: the page keeps the first and the latest. Download has all.`;
    const next = this.#shown.get(this.#log.blocks[this.#log.headBlocks]!)?.element;
    if (next && this.#gap.nextSibling !== next) next.before(this.#gap);
  }

  #seen(entries: IntersectionObserverEntry[]): void {
    for (const entry of entries) {
      const shown = this.#byElement.get(entry.target);
      if (!shown) continue;
      if (entry.isIntersecting) {
        this.#near.add(shown);
        this.#paint(shown);
      } else {
        this.#near.delete(shown);
        this.#marks.remove(shown.element);
      }
    }
    this.#later();
  }

  #paintAll(): void {
    for (const shown of this.#near) this.#paint(shown);
  }

  #paint({ block, element, text }: Shown): void {
    const found = this.#search?.in(block) ?? [];
    const current = this.#match?.block === block ? this.#match.start : -1;
    const index = (this.#line ?? 0) - block.first;
    const line = index >= 0 && index < block.starts.length ? index : -1;
    this.#marks.paint(element, text, block, { found, length: this.#search?.text.length ?? 0, current, line });
  }

  #toEnd(): void {
    this.#host.scrollTop = this.#host.scrollHeight;
    this.#lastTop = this.#host.scrollTop;
  }

  #scrolled(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.#host;
    const isAtEnd = scrollTop + clientHeight >= scrollHeight - AT_END;
    const before = this.#following;
    // Only a reader scrolls up: new lines move the end away from the view, not the view from the end.
    if (scrollTop < this.#lastTop - 1) this.#following = false;
    else if (isAtEnd && !this.#paused) this.#following = true;
    this.#lastTop = scrollTop;
    if (before !== this.#following) this.#report();
    this.#later();
  }

  #later(): void {
    if (this.#frame !== 0) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#following && !this.#paused) this.#toEnd();
      this.#drawGutter();
    });
  }

  /** The numbers, and times, of the lines in view. They are generated content, so that no search finds them. */
  #drawGutter(): void {
    const [from, to] = [this.#host.scrollTop, this.#host.scrollTop + this.#host.clientHeight];
    const wanted: { line: number; top: number; time: number }[] = [];
    for (const shown of [...this.#near].sort((a, b) => a.block.first - b.block.first)) {
      const top = shown.element.offsetTop;
      if (top > to || top + shown.element.offsetHeight < from) continue;
      const { block } = shown;
      for (let i = this.#firstLine(shown, from); i < block.starts.length; i++) {
        const y = this.#lineTop(shown, i);
        if (y > to) break;
        wanted.push({ line: block.first + i, top: y, time: block.times[i]! });
      }
    }
    while (this.#gutter.children.length > wanted.length) this.#gutter.lastElementChild!.remove();
    while (this.#gutter.children.length < wanted.length) {
      const link = document.createElement("a");
      link.tabIndex = -1;
      this.#gutter.append(link);
    }
    wanted.forEach(({ line, top, time }, i) => {
      const link = this.#gutter.children[i] as HTMLAnchorElement;
      link.style.top = `${top}px`;
      link.dataset["line"] = number(line);
      link.href = this.#options.href(line);
      if (this.#times) link.dataset["time"] = this.#options.time(time);
      else delete link.dataset["time"];
    });
  }

  /** The first line of a block that ends below `y`. */
  #firstLine(shown: Shown, y: number): number {
    let [low, high] = [0, shown.block.starts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#lineTop(shown, middle) <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The top of a line, in the content of the host. */
  #lineTop(shown: Shown, index: number): number {
    const top = shown.element.offsetTop;
    if (!this.#wrap) return top + index * LINE_HEIGHT;
    const rect = rectOf(shown.text, shown.block.starts[index]!, shown.block.starts[index]! + 1);
    return rect.top - this.#host.getBoundingClientRect().top + this.#host.scrollTop;
  }

  #topBlock(): Match | undefined {
    const line = this.#topLine();
    const block = line === undefined ? undefined : this.#log.blockOf(line);
    return block && { block, start: block.starts[line! - block.first]! - 1 };
  }

  #topLine(): number | undefined {
    const first = this.#gutter.firstElementChild as HTMLElement | null;
    const line = first?.dataset["line"];
    return line === undefined ? undefined : Number(line.replace(/,/g, ""));
  }

  #scrollTo(line: number, where: "top" | "middle"): void {
    const block = this.#log.blockOf(line);
    const shown = block && this.#shown.get(block);
    if (!shown) return;
    const top = this.#lineTop(shown, line - block.first);
    this.#host.scrollTop = where === "top" ? top : top - this.#host.clientHeight / 3;
    this.#lastTop = this.#host.scrollTop;
  }

  /** Moves the view so that a range is in it, up and down and to the side. */
  #reveal(shown: Shown, start: number, end: number): void {
    const frame = this.#host.getBoundingClientRect();
    const rect = rectOf(shown.text, start, Math.min(end, shown.text.length));
    if (rect.top < frame.top + LINE_HEIGHT || rect.bottom > frame.bottom - 2 * LINE_HEIGHT) {
      this.#host.scrollTop += rect.top - frame.top - frame.height / 3;
    }
    if (rect.left < frame.left + 200)
      this.#host.scrollLeft = Math.max(0, this.#host.scrollLeft + rect.left - frame.left - 200);
    else if (rect.right > frame.right - 20) this.#host.scrollLeft += rect.right - frame.right + 60;
    this.#lastTop = this.#host.scrollTop;
  }

  /** Opens a link of the log's text in a new tab. */
  #openLink(event: MouseEvent): void {
    if (getSelection()?.isCollapsed === false) return;
    const caret = document.caretRangeFromPoint?.(event.clientX, event.clientY);
    const shown = caret && this.#byElement.get(caret.startContainer.parentElement!);
    const link = shown?.block.links.find(({ start, end }) => caret!.startOffset >= start && caret!.startOffset < end);
    if (link) window.open(link.url, "_blank", "noopener,noreferrer");
  }

  #report(): void {
    this.#options.onState({
      following: this.#following,
      paused: this.#paused,
      held: this.#held,
      matches: this.#search?.count ?? 0,
      match: this.#match && this.#search ? this.#search.place(this.#match, this.#log.blocks) : 0,
    });
  }
}

function rectOf(text: Text, start: number, end: number): DOMRect {
  const range = document.createRange();
  range.setStart(text, start);
  range.setEnd(text, end);
  return range.getClientRects()[0] ?? range.getBoundingClientRect();
}
