/** Times and durations. The zone is a setting of the page, the same everywhere. */

export type Zone = "local" | "utc";

/** `3.2 s`, `12 s`, `2 min 5 s`, `1 h 3 min`, `2 d 4 h`: as `wfg` writes them. */
export function duration(ms: number): string {
  const time = Math.max(0, ms);
  const secs = Math.floor(time / 1000);
  if (secs < 1) return `${Math.floor(time)} ms`;
  if (secs < 10) return `${secs}.${Math.floor(time / 100) % 10} s`;
  return about(ms);
}

/** As `duration`, in whole seconds: for a time up to now, or between two clocks. */
export function about(ms: number): string {
  const secs = Math.floor(Math.max(0, ms) / 1000);
  if (secs < 60) return `${secs} s`;
  if (secs < 3600) return two(Math.floor(secs / 60), "min", secs % 60, "s");
  if (secs < 86_400) return two(Math.floor(secs / 3600), "h", Math.floor(secs / 60) % 60, "min");
  return two(Math.floor(secs / 86_400), "d", Math.floor(secs / 3600) % 24, "h");
}

function two(large: number, unit: string, small: number, of: string): string {
  return small === 0 ? `${large} ${unit}` : `${large} ${unit} ${small} ${of}`;
}

/** The day, and the time with milliseconds: `2026-01-31`, `23:59:59.120`. */
function fields(ms: number, zone: Zone): [day: string, time: string] {
  const shift = zone === "utc" ? 0 : new Date(ms).getTimezoneOffset() * 60_000;
  return new Date(ms - shift).toISOString().slice(0, -1).split("T") as [string, string];
}

/** `2026-01-31 23:59:59`, or `23:59:59` if it is on the same day as `now`. With `UTC` after it in that zone. */
export function moment(ms: number, zone: Zone, now: number): string {
  const [day, time] = fields(ms, zone);
  const text = `${day === fields(now, zone)[0] ? "" : `${day} `}${time.slice(0, 8)}`;
  return zone === "utc" ? `${text} UTC` : text;
}

/** The whole time, for a tooltip: `2026-01-31 23:59:59.120 UTC`, or with the zone's offset. */
export function exact(ms: number, zone: Zone): string {
  return `${fields(ms, zone).join(" ")} ${zone === "utc" ? "UTC" : offset(ms)}`;
}

/** `23:59:59.120`: the time of a line in a log. */
export function clock(ms: number, zone: Zone): string {
  return fields(ms, zone)[1];
}

function offset(ms: number): string {
  const minutes = -new Date(ms).getTimezoneOffset();
  const size = Math.abs(minutes);
  const pad = (value: number) => String(value).padStart(2, "0");
  return `${minutes < 0 ? "-" : "+"}${pad(Math.floor(size / 60))}:${pad(size % 60)}`;
}
