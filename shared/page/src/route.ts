/** Addresses within the page: what follows `#`. */

export type Tab = "graph" | "jobs" | "timeline";

export type Route =
  | { screen: "runs"; status: string; text: string }
  | { screen: "new" }
  | {
      screen: "run";
      id: string;
      /** Absent: the one that suits the window. */
      tab?: Tab;
      job?: string;
      /** The name of an opened stack. */
      stack?: string;
      attempt?: number;
      /** A line of the log, from 1. */
      line?: number;
      /** The job alone, without the graph. */
      full?: boolean;
    }
  | { screen: "workers" }
  | { screen: "pools" }
  | {
      screen: "forges";
      /** Absent: the list of links. */
      link?: string;
    }
  | { screen: "unknown"; fragment: string };

const TABS: readonly string[] = ["graph", "jobs", "timeline"];

/** Reads a fragment, with or without `#`. One that the page doesn't know is `unknown`, never an error. */
export function parse(fragment: string): Route {
  const text = fragment.replace(/^#/, "");
  const unknown: Route = { screen: "unknown", fragment: text };
  const mark = text.indexOf("?");
  const query = new URLSearchParams(mark < 0 ? "" : text.slice(mark + 1));
  const parts: string[] = [];
  for (const part of (mark < 0 ? text : text.slice(0, mark)).split("/").filter((part) => part !== "")) {
    try {
      parts.push(decodeURIComponent(part));
    } catch {
      return unknown;
    }
  }
  const [first = "runs", id, kind, job, ...more] = parts;
  if (more.length > 0) return unknown;
  if (first === "workers" || first === "pools") return id === undefined ? { screen: first } : unknown;
  if (first === "forges" && kind === undefined) return { screen: first, ...(id === undefined ? {} : { link: id }) };
  if (first !== "runs") return unknown;
  if (id === undefined) return { screen: "runs", status: query.get("status") ?? "", text: query.get("q") ?? "" };
  if (id === "new" && kind === undefined) return { screen: "new" };
  if (kind !== undefined && (kind !== "jobs" || job === undefined)) return unknown;
  const route: Route = { screen: "run", id };
  const tab = query.get("tab");
  if (tab !== null && TABS.includes(tab)) route.tab = tab as Tab;
  if (job !== undefined) {
    route.job = job;
    const attempt = whole(query.get("attempt"), 0);
    const line = whole(query.get("line"), 1);
    if (attempt !== undefined) route.attempt = attempt;
    if (line !== undefined) route.line = line;
    if (query.get("full") === "1") route.full = true;
  } else if (query.get("stack")) {
    route.stack = query.get("stack")!;
  }
  return route;
}

function whole(text: string | null, least: number): number | undefined {
  if (text === null || !/^\d{1,9}$/.test(text)) return undefined;
  const value = Number(text);
  return value >= least ? value : undefined;
}

/** The fragment of a route, with `#`. */
export function format(route: Route): string {
  switch (route.screen) {
    case "runs":
      return `#/runs${query({ status: route.status, q: route.text })}`;
    case "new":
      return "#/runs/new";
    case "run": {
      const path = `#/runs/${encodeURIComponent(route.id)}`;
      const job = route.job === undefined ? "" : `/jobs/${encodeURIComponent(route.job)}`;
      return (
        path +
        job +
        query({
          tab: route.tab,
          stack: route.stack,
          attempt: route.attempt,
          line: route.line,
          full: route.full ? 1 : undefined,
        })
      );
    }
    case "forges":
      return route.link === undefined ? "#/forges" : `#/forges/${encodeURIComponent(route.link)}`;
    case "unknown":
      return `#${route.fragment}`;
    default:
      return `#/${route.screen}`;
  }
}

function query(values: Record<string, string | number | undefined>): string {
  const pairs = Object.entries(values).filter(([, value]) => value !== undefined && value !== "");
  if (pairs.length === 0) return "";
  return `?${new URLSearchParams(pairs.map(([name, value]) => [name, String(value)]))}`;
}
