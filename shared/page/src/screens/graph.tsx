/** The graph with its tools. The layout is made in a worker. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Boxes } from "../boxes.ts";
import { announce } from "../context.ts";
import { GraphView, SIZES } from "../graph-view.ts";
import type { Layout } from "../layout.ts";
import type { LayoutAnswer, LayoutRequest } from "../layout-worker.ts";
import { Button, Check, SearchField, SearchForm, save, useNow } from "../parts.tsx";
import type { Run } from "../run.ts";
import { svg } from "../svg.ts";
import { number } from "../text.ts";

/** Set by the build: the worker's address, with the hash of its text. */
declare const LAYOUT_URL: string;

/** The only script that the page may load by itself. */
const policy = (
  globalThis as {
    trustedTypes?: { createPolicy(name: string, rules: object): { createScriptURL(url: string): string } };
  }
).trustedTypes?.createPolicy("wfg", {
  createScriptURL: (url: string) => {
    if (url !== LAYOUT_URL) throw new TypeError(`${url} is no script of this page`);
    return url;
  },
});

/** The layout of the boxes, or why there is none. */
function useLayout(boxes: Boxes): LayoutAnswer | undefined {
  const [answer, setAnswer] = useState<{ boxes: Boxes; answer: LayoutAnswer }>();
  useEffect(() => {
    const worker = new Worker(policy ? policy.createScriptURL(LAYOUT_URL) : LAYOUT_URL);
    const take = (made: LayoutAnswer) => {
      setAnswer({ boxes, answer: made });
      worker.terminate();
    };
    worker.onmessage = (event: MessageEvent<LayoutAnswer>) => take(event.data);
    worker.onerror = () => take({ error: "the script of the layout could not be loaded" });
    const request: LayoutRequest = { count: boxes.count, edges: boxes.edges, sizes: SIZES };
    worker.postMessage(request);
    return () => worker.terminate();
  }, [boxes]);
  return answer?.boxes === boxes ? answer.answer : undefined;
}

export interface GraphProps {
  run: Run;
  version: number;
  boxes: Boxes;
  picked: number | undefined;
  onPick(box: number): void;
}

export function Graph(props: GraphProps) {
  const answer = useLayout(props.boxes);
  if (!answer)
    return (
      <p class="graph-wait muted" role="status">
        Laying out {number(props.boxes.count)} {props.boxes.count === 1 ? "box" : "boxes"}
      </p>
    );
  if ("error" in answer)
    return (
      <p class="notice" role="alert">
        The graph can't be drawn: {answer.error}. The table of jobs has everything.
      </p>
    );
  if (props.boxes.count === 0) return <p class="notice">The workflow has no jobs.</p>;
  return <Drawn {...props} layout={answer.layout} />;
}

function Drawn({ run, version, boxes, picked, onPick, layout }: GraphProps & { layout: Layout }) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<GraphView | null>(null);
  const [showCritical, setShowCritical] = useState(true);
  const pick = useRef(onPick);
  pick.current = onPick;
  const now = useNow(run.counts.running > 0);
  useEffect(() => {
    const made = new GraphView(host.current!, { boxes, layout, run });
    made.onPick = (box) => pick.current(box);
    view.current = made;
    return () => made.destroy();
  }, [boxes, layout, run]);
  useEffect(
    () => view.current?.update(now, showCritical ? run.criticalPath() : []),
    [run, version, now, showCritical, layout],
  );
  useEffect(() => view.current?.pick(picked), [picked, run, layout]);
  const saveSvg = () =>
    save(`${run.facts.name}-${run.facts.run}.svg`, "image/svg+xml", [svg(boxes, layout, run, SIZES)]);
  return (
    <div class="graph">
      <div class="row tools">
        <Find boxes={boxes} onFind={(found, at) => view.current?.find(found, at)} />
        <Check label="Critical path so far" on={showCritical} onChange={setShowCritical} />
        <span class="grow" />
        <Button aria-label="Zoom out" onClick={() => view.current?.zoom(0.8)}>
          −
        </Button>
        <Button aria-label="Zoom in" onClick={() => view.current?.zoom(1.25)}>
          +
        </Button>
        <Button onClick={() => view.current?.fit()}>Fit</Button>
        <Button onClick={saveSvg}>Save as SVG</Button>
      </div>
      <div
        class="canvas"
        ref={host}
        role="group"
        aria-label="Graph of jobs. Arrow keys follow the needs. The tab Jobs has the same as a table."
      />
    </div>
  );
}

/** Finds boxes by name. Enter goes on to the next one. */
function Find({ boxes, onFind }: { boxes: Boxes; onFind(found: number[], at: number | undefined): void }) {
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const found = useMemo(() => {
    const wanted = text.trim().toLowerCase();
    return wanted === ""
      ? []
      : [...boxes.names.keys()].filter((box) => boxes.names[box]!.toLowerCase().includes(wanted));
  }, [boxes, text]);
  useEffect(() => {
    setAt(0);
    onFind(found, found[0]);
    if (text !== "") announce(`${number(found.length)} found`);
  }, [found]);
  const next = (step: number) => {
    if (found.length === 0) return;
    const to = (at + step + found.length) % found.length;
    setAt(to);
    onFind(found, found[to]);
  };
  return (
    <SearchForm onSubmit={() => next(1)}>
      <SearchField label="Find jobs in the graph" placeholder="Find a job" text={text} onText={setText} />
      {text !== "" && (
        <span class="muted">{found.length === 0 ? "none" : `${number(at + 1)} of ${number(found.length)}`}</span>
      )}
    </SearchForm>
  );
}
