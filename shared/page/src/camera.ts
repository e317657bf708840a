/** The part of the graph that is in view: a zoom and an offset. Pure, so that it can be tested without a browser. */

export const SMALLEST = 0.04;
export const LARGEST = 2;
/** At opening, a graph is shown whole only if it can be read at this zoom or more. */
export const READABLE = 0.7;
const MARGIN = 16;

export interface Size {
  width: number;
  height: number;
}

/** A point of the graph `(x, y)` is at `(x * zoom + left, y * zoom + top)` in the window. */
export interface Camera {
  zoom: number;
  left: number;
  top: number;
}

/** The whole graph, in the middle of the window, at zoom 1 or less. */
export function fit(graph: Size, window: Size): Camera {
  const zoom = Math.max(
    SMALLEST,
    Math.min(
      1,
      (window.width - 2 * MARGIN) / Math.max(1, graph.width),
      (window.height - 2 * MARGIN) / Math.max(1, graph.height),
    ),
  );
  return { zoom, left: (window.width - graph.width * zoom) / 2, top: (window.height - graph.height * zoom) / 2 };
}

/** A point of the graph in the middle of the window. An edge of the graph is not moved inwards without need. */
export function centre(x: number, y: number, zoom: number, graph: Size, window: Size): Camera {
  return {
    zoom,
    left: within(window.width / 2 - x * zoom, graph.width * zoom, window.width),
    top: within(window.height / 2 - y * zoom, graph.height * zoom, window.height),
  };
}

function within(offset: number, size: number, window: number): number {
  if (size + 2 * MARGIN <= window) return (window - size) / 2;
  return Math.min(MARGIN, Math.max(window - size - MARGIN, offset));
}

/** The view at opening: all of it if that can be read; else the given place, or the beginning. */
export function opening(graph: Size, window: Size, at: { x: number; y: number }): Camera {
  const whole = fit(graph, window);
  return whole.zoom >= READABLE ? whole : centre(at.x, at.y, 0.85, graph, window);
}

/** Zooms by a factor about a point of the window, which stays where it is. */
export function zoomed(camera: Camera, factor: number, x: number, y: number): Camera {
  const zoom = Math.min(LARGEST, Math.max(SMALLEST, camera.zoom * factor));
  const scale = zoom / camera.zoom;
  return { zoom, left: x - (x - camera.left) * scale, top: y - (y - camera.top) * scale };
}

/** Moves the view as little as possible so that a rectangle of the graph is in it. */
export function reveal(camera: Camera, box: { x: number; y: number } & Size, window: Size): Camera {
  const move = (offset: number, start: number, size: number, length: number) => {
    const [from, to] = [start * camera.zoom + offset, (start + size) * camera.zoom + offset];
    if (from < MARGIN) return offset + MARGIN - from;
    return to > length - MARGIN ? offset - (to - length + MARGIN) : offset;
  };
  return {
    zoom: camera.zoom,
    left: move(camera.left, box.x, box.width, window.width),
    top: move(camera.top, box.y, box.height, window.height),
  };
}
