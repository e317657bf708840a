/** The body of a submission. */

/** The body of a submission, and its content type. Inputs need the form with `definition`. */
export function bodyOf(text: string, inputs: string): [string, string] {
  const isJson = text.trimStart().startsWith("{");
  const given = inputs
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  if (given.length === 0) return [isJson ? "application/json" : "application/yaml", text];
  const values = Object.fromEntries(
    given.map((line) => {
      const at = line.indexOf("=");
      if (at < 1) throw new Error(`input \`${line}\` has no value: write NAME=VALUE`);
      return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
    }),
  );
  return ["application/json", JSON.stringify({ definition: isJson ? JSON.parse(text) : text, inputs: values })];
}
