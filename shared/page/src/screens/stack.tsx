/** An opened stack: its jobs as a list. */

import { type Boxes, countsOf } from "../boxes.ts";
import { Button, Counts } from "../parts.tsx";
import type { Run } from "../run.ts";
import { clean, cut, number } from "../text.ts";
import { Jobs } from "./jobs.tsx";

export function StackPanel(props: {
  run: Run;
  version: number;
  boxes: Boxes;
  box: number;
  onPick(job: number): void;
  onClose(): void;
}) {
  const { run, boxes, box } = props;
  const name = clean(cut(boxes.names[box]!, 200));
  return (
    <aside class="panel" aria-label={`Stack ${name}`}>
      <header>
        <h2>
          {name} <span class="muted">×{number(boxes.members[box]!.length)}</span>
        </h2>
        <Button aria-label="Close" onClick={props.onClose}>
          ✕
        </Button>
      </header>
      <Counts counts={countsOf(boxes, box, run)} />
      <Jobs run={run} version={props.version} only={boxes.members[box]!} onPick={props.onPick} />
    </aside>
  );
}
