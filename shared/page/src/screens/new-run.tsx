/** Submits a workflow: pasted, or from a file. Problems are shown beside their lines. */

import { useEffect, useRef, useState } from "preact/hooks";
import { type Problem, paths } from "../api.ts";
import { Refused, idempotencyKey } from "../client.ts";
import { client, go, may, setTitle } from "../context.ts";
import { Button, Check, sentence } from "../parts.tsx";
import { bodyOf } from "../submission.ts";
import { clean, count, number } from "../text.ts";

/** The API's limit of a definition, in bytes. */
const MOST = 1024 * 1024;
/** Problems that are listed. */
const SHOWN = 100;

export function NewRun() {
  const [text, setText] = useState("");
  const [inputs, setInputs] = useState("");
  const [start, setStart] = useState(true);
  const [error, setError] = useState<Error>();
  const [isSending, setSending] = useState(false);
  const key = useRef({ of: "", key: "" });
  const area = useRef<HTMLTextAreaElement>(null);
  useEffect(() => setTitle("New run"), []);
  if (!may("submit"))
    return (
      <div class="notice" role="alert">
        <h1>New run</h1>
        <p>
          Your token doesn't allow submitting: it lacks the scope <code>submit</code>.
        </p>
      </div>
    );
  const problems = error instanceof Refused ? error.problems : [];

  const submit = async (event: Event) => {
    event.preventDefault();
    // The same text gets the same key: a repetition after a lost answer creates no second workflow.
    const of = JSON.stringify([text, inputs, start]);
    if (key.current.of !== of) key.current = { of, key: idempotencyKey() };
    setSending(true);
    setError(undefined);
    try {
      const { value } = await client.json<{ id: string }>(start ? `${paths.workflows}?run=true` : paths.workflows, {
        method: "POST",
        body: bodyOf(text, inputs),
        headers: { "Idempotency-Key": key.current.key },
      });
      go({ screen: "run", id: value.id });
    } catch (failure) {
      setError(failure as Error);
      setSending(false);
    }
  };
  const choose = async (event: Event) => {
    const file = (event.currentTarget as HTMLInputElement).files?.[0];
    if (!file) return;
    if (file.size > MOST) {
      setError(new Error(`the file has ${number(file.size)} bytes; a definition may have ${number(MOST)}`));
      return;
    }
    setError(undefined);
    setText(await file.text());
  };

  return (
    <form class="new-run" onSubmit={submit}>
      <h1>New run</h1>
      <div class="row">
        <label class="button">
          Choose a file <input type="file" class="hidden-input" accept=".yml,.yaml,.json" onChange={choose} />
        </label>
        <span class="muted">or paste a workflow below</span>
      </div>
      <Editor text={text} problems={problems} area={area} onText={setText} />
      <label>
        Inputs, one <code>NAME=VALUE</code> on each line (only if the workflow has inputs)
        <textarea
          rows={2}
          spellcheck={false}
          value={inputs}
          onInput={(event) => setInputs(event.currentTarget.value)}
        />
      </label>
      <div class="row">
        <Check label="Run it now" on={start} onChange={setStart} />
        <button type="submit" class="primary" disabled={isSending || text.trim() === ""}>
          Submit
        </button>
      </div>
      {error && <Problems error={error} problems={problems} onGo={(problem) => select(area.current, problem)} />}
    </form>
  );
}

/** The text with its line numbers. Lines with a problem are marked. */
function Editor(props: {
  text: string;
  problems: Problem[];
  area: { current: HTMLTextAreaElement | null };
  onText(text: string): void;
}) {
  const gutter = useRef<HTMLDivElement>(null);
  const lines = props.text.split("\n").length;
  const bad = new Map(
    props.problems.filter((problem) => problem.line !== undefined).map((problem) => [problem.line!, problem]),
  );
  // One text for all numbers: a file may have thousands of lines.
  const numbers = Array.from({ length: lines }, (_, i) => `${bad.has(i + 1) ? "✕ " : ""}${i + 1}`).join("\n");
  return (
    <div class="editor">
      <div class="numbers" ref={gutter} aria-hidden="true">
        <pre>{numbers}</pre>
      </div>
      <textarea
        ref={props.area}
        aria-label="Workflow in YAML or JSON"
        aria-invalid={props.problems.length > 0}
        spellcheck={false}
        wrap="off"
        placeholder={"name: hello\njobs:\n  greet:\n    run: echo hello"}
        value={props.text}
        onInput={(event) => props.onText(event.currentTarget.value)}
        onScroll={(event) => {
          if (gutter.current) gutter.current.scrollTop = event.currentTarget.scrollTop;
        }}
      />
    </div>
  );
}

function Problems({ error, problems, onGo }: { error: Error; problems: Problem[]; onGo(problem: Problem): void }) {
  const status = error instanceof Refused ? error.status : 0;
  return (
    <div class="notice problems" role="alert">
      <h2>
        {status === 413
          ? "The workflow is too large"
          : problems.length > 0
            ? count(problems.length, "problem")
            : "The workflow was not submitted"}
      </h2>
      {problems.length === 0 && <p>{sentence(clean(error.message))}</p>}
      <ul>
        {problems.slice(0, SHOWN).map((problem, i) => (
          <li key={i}>
            {problem.line !== undefined && (
              <Button class="link" onClick={() => onGo(problem)}>
                Line {problem.line}
              </Button>
            )}{" "}
            {problem.path !== "" && <code>{clean(problem.path)}</code>} {clean(problem.message)}
          </li>
        ))}
      </ul>
      {problems.length > SHOWN && <p>The first {SHOWN} are shown.</p>}
    </div>
  );
}

/** Selects the line of a problem in the text. */
function select(area: HTMLTextAreaElement | null, problem: Problem): void {
  if (!area || problem.line === undefined) return;
  const lines = area.value.split("\n");
  const start = lines.slice(0, problem.line - 1).reduce((sum, line) => sum + line.length + 1, 0);
  area.focus();
  area.setSelectionRange(start + (problem.column ?? 1) - 1, start + (lines[problem.line - 1]?.length ?? 0));
  const height = area.scrollHeight / lines.length;
  area.scrollTop = Math.max(0, (problem.line - 5) * height);
}
