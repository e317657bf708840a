/**
 * Draws a graph: edges on a canvas, the boxes in view as buttons. Far away, or where too many boxes are in view, the boxes too are drawn
 * on the canvas. The work of a frame depends on what is in view, not on the size of the graph.
 */

import { STATUSES } from "./api.ts";
import { type Boxes, countsOf, related, worstOf } from "./boxes.ts";
import * as camera from "./camera.ts";
import { type Theme, drawBoxes, drawEdges, readTheme } from "./draw.ts";
import { Grid } from "./grid.ts";
import type { Layout, Sizes } from "./layout.ts";
import { MARKS } from "./marks.ts";
import type { Run } from "./run.ts";
import { clean, cut, number } from "./text.ts";
import { about } from "./time.ts";

export const SIZES: Sizes = { width: 176, height: 40, gapX: 56, gapY: 14 };
/** Below this zoom a name can't be read. */
const FAR = 0.4;
/** More buttons than this slow the page down. */
const MOST_BUTTONS = 400;
const LONGEST_NAME = 200;

export interface GraphData {
  boxes: Boxes;
  layout: Layout;
  run: Run;
}

export class GraphView {
  /** Called when a box is chosen. */
  onPick: ((box: number) => void) | undefined;
  #host: HTMLElement;
  #canvas = document.createElement("canvas");
  #layer = document.createElement("div");
  #data: GraphData;
  #grid: Grid;
  #view: camera.Camera = { zoom: 1, left: 0, top: 0 };
  #size: camera.Size = { width: 0, height: 0 };
  #buttons = new Map<number, HTMLButtonElement>();
  #worst: Uint8Array;
  #picked: number | undefined;
  #related: Uint8Array | undefined;
  #critical = new Set<number>();
  #found = new Set<number>();
  /** The box that the tab key reaches. */
  #current = -1;
  #now = 0;
  #frame = 0;
  #isOpen = false;
  #stop = new AbortController();
  #observer: ResizeObserver;
  #theme: Theme;

  constructor(host: HTMLElement, data: GraphData) {
    this.#host = host;
    this.#data = data;
    this.#grid = new Grid(data.layout, SIZES);
    this.#worst = new Uint8Array(data.boxes.count);
    this.#setCurrent();
    this.#canvas.setAttribute("aria-hidden", "true");
    this.#layer.className = "layer";
    host.replaceChildren(this.#canvas, this.#layer);
    this.#listen();
    this.#observer = new ResizeObserver(() => this.#resize());
    this.#observer.observe(host);
    this.#theme = readTheme(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener(
      "change",
      () => {
        this.#theme = readTheme(host);
        this.#draw();
      },
      { signal: this.#stop.signal },
    );
  }

  destroy(): void {
    this.#stop.abort();
    this.#observer.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  /** Shows the present state of the jobs. */
  update(now: number, critical: Iterable<number>): void {
    const { boxes, run } = this.#data;
    this.#now = now;
    for (let box = 0; box < boxes.count; box++) this.#worst[box] = worstOf(boxes, box, run);
    this.#critical = new Set([...critical].map((job) => boxes.ofJob[job]!));
    for (const [box, button] of this.#buttons) this.#label(box, button);
    if (this.#picked === undefined && !this.#host.contains(document.activeElement)) this.#setCurrent();
    this.#draw();
  }

  /** The tab key reaches the first failed or running job, until the reader goes elsewhere. */
  #setCurrent(): void {
    const { boxes, run } = this.#data;
    this.#current = boxes.ofJob[run.firstOfInterest() ?? 0] ?? -1;
  }

  /** Marks a box as chosen, with what it needs and what needs it. */
  pick(box: number | undefined): void {
    if (box === this.#picked) return;
    this.#picked = box;
    this.#related = box === undefined ? undefined : related(this.#data.boxes, box);
    if (box !== undefined) this.#current = box;
    for (const [each, button] of this.#buttons) this.#label(each, button);
    this.#draw();
  }

  /** Marks boxes as found, and shows the one at `at`. */
  find(found: readonly number[], at: number | undefined): void {
    this.#found = new Set(found);
    for (const [box, button] of this.#buttons) this.#label(box, button);
    if (at !== undefined) this.show(at);
    this.#draw();
  }

  fit(): void {
    this.#move(camera.fit(this.#data.layout, this.#size));
  }

  zoom(factor: number): void {
    this.#move(camera.zoomed(this.#view, factor, this.#size.width / 2, this.#size.height / 2));
  }

  /** Moves a box into view, at a zoom at which it can be read. */
  show(box: number): void {
    const [x, y] = [this.#data.layout.x[box]!, this.#data.layout.y[box]!];
    this.#current = box;
    if (this.#view.zoom < FAR * 1.5) {
      this.#move(camera.centre(x + SIZES.width / 2, y + SIZES.height / 2, 0.85, this.#data.layout, this.#size));
    } else {
      this.#move(camera.reveal(this.#view, { x, y, width: SIZES.width, height: SIZES.height }, this.#size));
    }
  }

  #resize(): void {
    this.#size = { width: this.#host.clientWidth, height: this.#host.clientHeight };
    if (this.#size.width === 0) return;
    const scale = devicePixelRatio || 1;
    this.#canvas.width = Math.round(this.#size.width * scale);
    this.#canvas.height = Math.round(this.#size.height * scale);
    if (!this.#isOpen && this.#current >= 0) {
      this.#isOpen = true;
      const at = {
        x: this.#data.layout.x[this.#current]! + SIZES.width / 2,
        y: this.#data.layout.y[this.#current]! + SIZES.height / 2,
      };
      this.#view = camera.opening(this.#data.layout, this.#size, at);
    }
    this.#drawNow();
  }

  #move(view: camera.Camera): void {
    this.#view = view;
    this.#draw();
  }

  #draw(): void {
    if (this.#frame !== 0) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#drawNow();
    });
  }

  #drawNow(): void {
    const context = this.#canvas.getContext("2d");
    if (!context || this.#size.width === 0) return;
    const { zoom, left, top } = this.#view;
    const view = {
      left: -left / zoom,
      top: -top / zoom,
      right: (this.#size.width - left) / zoom,
      bottom: (this.#size.height - top) / zoom,
    };
    const inView = this.#grid.within(view.left, view.top, view.right, view.bottom);
    const isFar = zoom < FAR || inView.length > MOST_BUTTONS;
    const scale = devicePixelRatio || 1;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, this.#size.width, this.#size.height);
    context.setTransform(scale * zoom, 0, 0, scale * zoom, scale * left, scale * top);
    const shown = {
      ...this.#data,
      sizes: SIZES,
      view,
      zoom,
      theme: this.#theme,
      related: this.#related,
      critical: this.#critical,
    };
    drawEdges(context, shown);
    if (isFar) drawBoxes(context, { ...shown, inView, worst: this.#worst, picked: this.#picked, found: this.#found });
    this.#layer.style.transform = `translate(${left}px,${top}px) scale(${zoom})`;
    this.#place(isFar ? [] : inView);
    // Without buttons the tab key reaches the graph itself.
    this.#host.tabIndex = this.#buttons.size === 0 ? 0 : -1;
  }

  #place(inView: readonly number[]): void {
    const wanted = new Set(inView);
    const focused = document.activeElement;
    for (const [box, button] of this.#buttons) {
      if (wanted.has(box)) continue;
      // The focus would be lost with its button.
      if (button === focused) this.#host.focus({ preventScroll: true });
      button.remove();
      this.#buttons.delete(box);
    }
    for (const box of inView) if (!this.#buttons.has(box)) this.#add(box);
    const reached = wanted.has(this.#current) ? this.#current : inView[0];
    for (const [box, button] of this.#buttons) {
      const index = box === reached ? 0 : -1;
      if (button.tabIndex !== index) button.tabIndex = index;
    }
  }

  #add(box: number): void {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset["box"] = String(box);
    for (const name of ["mark", "name", "sr", "extra"]) {
      const span = document.createElement("span");
      span.className = name;
      if (name === "mark" || name === "extra") span.setAttribute("aria-hidden", "true");
      button.append(span);
    }
    button.style.transform = `translate(${this.#data.layout.x[box]!}px,${this.#data.layout.y[box]!}px)`;
    this.#label(box, button);
    this.#buttons.set(box, button);
    this.#layer.append(button);
  }

  #label(box: number, button: HTMLButtonElement): void {
    const { boxes, run } = this.#data;
    const status = STATUSES[this.#worst[box]!]!;
    const isStack = boxes.stacks[box]! >= 0;
    const classes = ["node", status];
    if (isStack) classes.push("stack");
    if (this.#critical.has(box)) classes.push("critical");
    if (this.#found.has(box)) classes.push("found");
    if (this.#related && !this.#related[box]) classes.push("dim");
    const className = classes.join(" ");
    if (button.className !== className) button.className = className;
    const pressed = String(box === this.#picked);
    if (button.getAttribute("aria-pressed") !== pressed) button.setAttribute("aria-pressed", pressed);
    const [mark, name, sr, extra] = button.children as unknown as HTMLElement[];
    setText(mark!, MARKS[status]);
    setText(name!, clean(cut(boxes.names[box]!, LONGEST_NAME)));
    if (isStack) this.#labelStack(box, button, sr!, extra!);
    else {
      const took = run.took(boxes.members[box]![0]!, this.#now);
      setText(sr!, `, ${status}`);
      setText(extra!, took === undefined ? "" : about(took));
    }
  }

  #labelStack(box: number, button: HTMLButtonElement, sr: HTMLElement, extra: HTMLElement): void {
    const counts = countsOf(this.#data.boxes, box, this.#data.run);
    const shown = STATUSES.filter((status) => counts[status] > 0);
    setText(
      sr,
      `, ${number(this.#data.boxes.members[box]!.length)} jobs: ${shown.map((s) => `${number(counts[s])} ${s}`).join(", ")}`,
    );
    setText(extra, `×${number(this.#data.boxes.members[box]!.length)}`);
    let bar = button.querySelector<HTMLElement>(".bar");
    if (!bar) {
      bar = document.createElement("span");
      bar.className = "bar";
      bar.setAttribute("aria-hidden", "true");
      button.append(bar);
    }
    const parts = [...shown].reverse().map((status) => {
      const part = document.createElement("i");
      part.className = status;
      part.style.flexGrow = String(counts[status]);
      return part;
    });
    bar.replaceChildren(...parts);
  }

  #listen(): void {
    const options = { signal: this.#stop.signal };
    const host = this.#host;
    const pointers = new Map<number, { x: number; y: number }>();
    let moved = 0;
    const place = (event: PointerEvent | WheelEvent) => {
      const frame = host.getBoundingClientRect();
      return { x: event.clientX - frame.left, y: event.clientY - frame.top };
    };
    host.addEventListener(
      "pointerdown",
      (event) => {
        if (event.button !== 0) return;
        if (pointers.size === 0) moved = 0;
        pointers.set(event.pointerId, place(event));
        if (!(event.target as Element).closest("button")) host.setPointerCapture(event.pointerId);
      },
      options,
    );
    host.addEventListener(
      "pointermove",
      (event) => {
        const before = pointers.get(event.pointerId);
        if (!before) return;
        const to = place(event);
        const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
        moved += Math.abs(to.x - before.x) + Math.abs(to.y - before.y);
        pointers.set(event.pointerId, to);
        if (other) {
          const distance = (a: { x: number; y: number }, b: { x: number; y: number }) =>
            Math.hypot(a.x - b.x, a.y - b.y);
          const factor = distance(to, other) / Math.max(1, distance(before, other));
          this.#move(camera.zoomed(this.#view, factor, (to.x + other.x) / 2, (to.y + other.y) / 2));
        } else if (moved > 4) {
          if (!host.hasPointerCapture(event.pointerId)) host.setPointerCapture(event.pointerId);
          this.#move({ ...this.#view, left: this.#view.left + to.x - before.x, top: this.#view.top + to.y - before.y });
        }
      },
      options,
    );
    const up = (event: PointerEvent) => {
      const was = pointers.delete(event.pointerId);
      if (!was || moved > 4 || (event.target as Element).closest("button")) return;
      const at = place(event);
      const box = this.#grid.at((at.x - this.#view.left) / this.#view.zoom, (at.y - this.#view.top) / this.#view.zoom);
      if (box !== undefined && event.type === "pointerup") this.onPick?.(box);
    };
    host.addEventListener("pointerup", up, options);
    host.addEventListener("pointercancel", up, options);
    host.addEventListener(
      "click",
      (event) => {
        const button = (event.target as Element).closest<HTMLElement>("button[data-box]");
        if (button && (moved <= 4 || event.detail === 0)) this.onPick?.(Number(button.dataset["box"]));
      },
      options,
    );
    host.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        if (event.ctrlKey || event.metaKey) {
          const at = place(event);
          this.#move(camera.zoomed(this.#view, Math.exp(-event.deltaY / 200), at.x, at.y));
        } else {
          this.#move({ ...this.#view, left: this.#view.left - event.deltaX, top: this.#view.top - event.deltaY });
        }
      },
      { ...options, passive: false },
    );
    host.addEventListener("keydown", (event) => this.#key(event), options);
    host.addEventListener(
      "focusin",
      (event) => {
        const button = (event.target as Element).closest<HTMLElement>("button[data-box]");
        if (button) this.#current = Number(button.dataset["box"]);
      },
      options,
    );
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "+" || event.key === "=") this.zoom(1.25);
    else if (event.key === "-") this.zoom(0.8);
    else if (event.key === "0") this.fit();
    else if (this.#buttons.size === 0 && (event.key === "Enter" || event.key.startsWith("Arrow")))
      this.#focus(this.#current);
    else {
      const next = this.#neighbour(event.key);
      if (next === undefined) return;
      this.#focus(next);
    }
    event.preventDefault();
  }

  /** Right: what needs the box. Left: what it needs. Up and down: its column. */
  #neighbour(key: string): number | undefined {
    const { boxes, layout } = this.#data;
    if (key === "ArrowUp" || key === "ArrowDown") return this.#grid.beside(this.#current, key === "ArrowDown" ? 1 : -1);
    if (key !== "ArrowLeft" && key !== "ArrowRight") return undefined;
    const side = key === "ArrowRight" ? 0 : 1;
    let best: number | undefined;
    const far = (box: number) => Math.abs(layout.y[box]! - layout.y[this.#current]!);
    for (let e = 0; e < boxes.edges.length; e += 2) {
      if (boxes.edges[e + side] !== this.#current) continue;
      const other = boxes.edges[e + 1 - side]!;
      if (best === undefined || far(other) < far(best)) best = other;
    }
    return best;
  }

  #focus(box: number): void {
    if (box < 0) return;
    this.show(box);
    this.#drawNow();
    this.#buttons.get(box)?.focus({ preventScroll: true });
  }
}

function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
