/** Text for people: escaping of what could mislead, lists, counts. */

/** Control characters, invisible ones, and those that turn the direction of the text around them: as `wfg` escapes them. */
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
const UNSAFE_IN_LINE =
  /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

function escape(character: string): string {
  if (character === "\t") return "\\t";
  if (character === "\n") return "\\n";
  if (character === "\r") return "\\r";
  return `\\u{${character.charCodeAt(0).toString(16)}}`;
}

/** Text of unknown origin on one line: control characters escaped. */
export function clean(text: string): string {
  return text.replace(UNSAFE, escape);
}

/** As `clean`, but tabs stay: for a line of a log. */
export function cleanLine(text: string): string {
  return text.replace(UNSAFE_IN_LINE, escape);
}

/** As `clean`, of a text whose lines are shown as lines. */
export function cleanLines(text: string): string {
  return text.replace(/\r\n/g, "\n").split("\n").map(cleanLine).join("\n");
}

/** Cuts a text with an ellipsis. Never cuts a surrogate pair. */
export function cut(text: string, most: number): string {
  if (text.length <= most) return text;
  const end = /[\ud800-\udbff]/.test(text[most - 2]!) ? most - 2 : most - 1;
  return `${text.slice(0, end)}…`;
}

/** A number with commas: `10,000`. The page has one language, so it doesn't depend on the browser's. */
export function number(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `jobs`, `deliveries`. */
export function plural(one: string): string {
  return `${one.replace(/y$/, "ie")}s`;
}

/** `1 job`, `2 jobs`. */
export function count(value: number, one: string): string {
  return `${number(value)} ${value === 1 ? one : plural(one)}`;
}

/** `a`, `a and b`, `a, b and c`; of many the first six and how many more there are. */
export function allOf(things: readonly string[]): string {
  const named = 6;
  const shown = things.slice(0, things.length > named + 1 ? named : undefined).map(clean);
  if (shown.length < things.length) shown.push(`${number(things.length - named)} more`);
  const last = shown.pop();
  if (last === undefined) return "";
  return shown.length === 0 ? last : `${shown.join(", ")} and ${last}`;
}

/** Ids in the order of people: `job-9` before `job-10`. */
export const byName = new Intl.Collator("en", { numeric: true }).compare;
