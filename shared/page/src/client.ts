/** Requests to the API, with the token, and their failures in words. */

import type { ErrorBody, Problem } from "./api.ts";
import type { Passing } from "./repeat.ts";

/** The API refused. The message is the server's, for the person who reads it. */
export class Refused extends Error {
  readonly passing: boolean;
  readonly after: number | undefined;
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly problems: Problem[] = [],
    after?: number,
  ) {
    super(message);
    // 501: this server can't, now or later.
    this.passing = status === 429 || (status >= 500 && status !== 501);
    this.after = after;
  }
}

/** There was no answer. */
export class Unreachable extends Error implements Passing {
  readonly passing = true;
  readonly after = undefined;
}

export interface Ask {
  method?: string;
  /** The content type and the text. */
  body?: [type: string, text: string];
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

export interface Answer<T> {
  value: T;
  /** The path of the next page, relative to the page. */
  next: string | undefined;
  etag: string | undefined;
}

export class Client {
  #token: () => string | null;
  #fetch: typeof fetch;
  /** Called when a token is refused as unknown, expired or revoked. */
  onSignedOut: ((token: string | null) => void) | undefined;

  constructor(token: () => string | null, fetcher: typeof fetch = (...args) => fetch(...args)) {
    this.#token = token;
    this.#fetch = fetcher;
  }

  /** Sends a request. Throws `Refused` or `Unreachable`; an aborted one throws what `fetch` throws. */
  async send(path: string, ask: Ask = {}): Promise<Response> {
    const token = this.#token();
    const headers: Record<string, string> = { ...ask.headers };
    if (token !== null) headers["Authorization"] = `Bearer ${token}`;
    if (ask.body) headers["Content-Type"] = ask.body[0];
    let response: Response;
    try {
      response = await this.#fetch(path, {
        method: ask.method ?? "GET",
        headers,
        body: ask.body?.[1] ?? null,
        signal: ask.signal ?? null,
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
      });
    } catch (error) {
      if (ask.signal?.aborted) throw error;
      throw new Unreachable("the server doesn't answer", { cause: error });
    }
    if (response.ok || response.status === 304) return response;
    const refused = await readError(response);
    if (response.status === 401) this.onSignedOut?.(token);
    throw refused;
  }

  /** Sends a request and reads its JSON. */
  async json<T>(path: string, ask: Ask = {}): Promise<Answer<T>> {
    const response = await this.send(path, ask);
    let value: T;
    try {
      value = response.status === 304 || response.status === 204 ? (undefined as T) : ((await response.json()) as T);
    } catch (error) {
      if (ask.signal?.aborted) throw error;
      throw new Unreachable("the server's answer was cut", { cause: error });
    }
    return { value, next: nextPage(response.headers.get("Link")), etag: response.headers.get("ETag") ?? undefined };
  }

  /** Posts an object as JSON, or nothing. */
  post<T>(path: string, body?: object): Promise<Answer<T>> {
    const sent: Ask = body ? { body: ["application/json", JSON.stringify(body)] } : {};
    return this.json<T>(path, { method: "POST", ...sent });
  }
}

/** The path in `Link: <...>; rel="next"`, relative to the page. */
export function nextPage(link: string | null): string | undefined {
  const path = link?.match(/<([^>]*)>\s*;\s*rel="?next"?/)?.[1];
  return path?.match(/(?:^|\/)(api\/(?:workflows|workers|pools|forges)\b.*)$/)?.[1];
}

async function readError(response: Response): Promise<Refused> {
  const seconds = Number(response.headers.get("Retry-After") ?? "");
  const after = seconds > 0 ? seconds * 1000 : undefined;
  const text = await response.text().catch(() => "");
  try {
    const { error } = JSON.parse(text) as ErrorBody;
    if (typeof error.message === "string") {
      return new Refused(response.status, error.code, error.message, error.details?.problems ?? [], after);
    }
  } catch {
    // Not an answer of the API, but of a proxy or a gateway.
  }
  return new Refused(response.status, "", `the server answered ${response.status}`, [], after);
}

/** A key that makes it safe to send a submission again. `crypto.randomUUID` is missing outside of https and localhost. */
export function idempotencyKey(): string {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}
