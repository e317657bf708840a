/** Runs the layout beside the page's thread. One message in, one message out. */

import { type Layout, type Sizes, layout } from "./layout.ts";

/** The request to the worker. */
export interface LayoutRequest {
  count: number;
  edges: Int32Array;
  sizes: Sizes;
}

/** The worker's answer: a layout, or why there is none. */
export type LayoutAnswer = { layout: Layout } | { error: string };

const worker = globalThis as unknown as {
  onmessage: ((event: MessageEvent<LayoutRequest>) => void) | null;
  postMessage(message: LayoutAnswer, transfer?: Transferable[]): void;
};

worker.onmessage = (event) => {
  try {
    const { count, edges, sizes } = event.data;
    const made = layout(count, edges, sizes);
    const parts = [made.x, made.y, made.viaStart, made.via].map((part) => part.buffer as ArrayBuffer);
    worker.postMessage({ layout: made }, parts);
  } catch (error) {
    worker.postMessage({ error: String(error) });
  }
};
