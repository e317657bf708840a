// A stand-in for the server: the routes that the page uses, as src/api.ts has them, over the engine of this folder.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Engine, Refusal } from "./engine.mjs";

const DIST = path.join(path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url)))), "dist");
const TYPES = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
};
const FILES = {
  "/": "index.html",
  "/app.js": "app.js",
  "/app.css": "app.css",
  "/layout.js": "layout.js",
  "/icon.svg": "icon.svg",
};
export const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; worker-src 'self'; base-uri 'none'; " +
  "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types wfg";
const isFinal = (status) => status !== "queued" && status !== "running";

export class StandIn {
  engine = new Engine();
  tokens = new Map();
  requests = [];
  /** True: answers as a function does, which holds no stream. */
  holdsNothing = false;
  #server;
  #sockets = new Set();
  #port = 0;

  constructor({ auth = true } = {}) {
    this.auth = auth;
  }

  get url() {
    return `http://127.0.0.1:${this.#port}/`;
  }

  /** Creates a token and returns its text. */
  token(name, scopes) {
    const text = `wfg_${randomBytes(8).toString("hex")}`;
    this.tokens.set(text, { name, scopes });
    return text;
  }

  revoke(name) {
    for (const [text, token] of this.tokens) if (token.name === name) this.tokens.delete(text);
  }

  /** Listens; after a `kill`, on the same port and with the same data. */
  async start() {
    this.#server = http.createServer((request, response) => this.#answer(request, response));
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    await new Promise((resolve) => this.#server.listen(this.#port, "127.0.0.1", resolve));
    this.#port = this.#server.address().port;
  }

  /** Cuts all connections and stops listening. Jobs go on. */
  async kill() {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async stop() {
    this.engine.stop();
    await this.kill();
  }

  async #answer(request, response) {
    const url = new URL(request.url, this.url);
    response.setHeader("X-Content-Type-Options", "nosniff");
    response.setHeader("Referrer-Policy", "no-referrer");
    if (request.method === "GET" && FILES[url.pathname]) return this.#file(FILES[url.pathname], url, response);
    this.requests.push(`${request.method} ${url.pathname}${url.search}`);
    try {
      const caller = this.#caller(request);
      let body = "";
      for await (const part of request) body += part;
      await this.#route(request, url, caller, body, response);
    } catch (error) {
      if (!(error instanceof Refusal)) console.error(error);
      const refusal = error instanceof Refusal ? error : new Refusal(500, "internal", "the stand-in has a bug");
      json(response, refusal.status, {
        error: { code: refusal.code, message: refusal.message, details: refusal.details },
      });
    }
  }

  #file(name, url, response) {
    response.setHeader("Content-Type", TYPES[name.split(".").at(-1)]);
    response.setHeader("Content-Security-Policy", CSP);
    response.setHeader(
      "Cache-Control",
      url.search.startsWith("?v=") ? "public, max-age=31536000, immutable" : "no-cache",
    );
    response.end(readFileSync(path.join(DIST, name)));
  }

  #caller(request) {
    if (!this.auth) return { name: null, scopes: ["read", "submit", "work", "admin"] };
    const text = request.headers.authorization?.replace(/^Bearer /, "");
    const token = text && this.tokens.get(text);
    if (!token) throw new Refusal(401, "unauthorized", "a valid token is needed");
    return token;
  }

  async #route(request, url, caller, body, response) {
    const parts = url.pathname.split("/").slice(1).map(decodeURIComponent);
    const [, kind, id, sub, job, more, last] = parts;
    const needs = (scope) => {
      if (!caller.scopes.includes(scope))
        throw new Refusal(
          403,
          "forbidden",
          `this needs the scope \`${scope}\`, which the token \`${caller.name}\` lacks`,
        );
    };
    const { engine } = this;
    if (url.pathname === "/api/me") {
      const auth = this.auth ? "token" : "none";
      return json(response, 200, {
        auth,
        name: caller.name,
        scopes: caller.scopes,
        labels: "*",
        secrets: "*",
        expires_at_ms: null,
      });
    }
    if (request.method === "POST" && kind === "workflows") {
      needs("submit");
      if (id === undefined) {
        const run = url.searchParams.get("run") === "true";
        const made = engine.submit(body, request.headers["content-type"], run, request.headers["idempotency-key"]);
        return json(response, 201, { id: made.id, name: made.name, status: made.status, run: made.run, jobs: [] });
      }
      if (sub === "run") engine.start(id, body === "" ? undefined : JSON.parse(body).only);
      else engine.cancel(id);
      return json(response, 202, { id });
    }
    if (request.method === "DELETE" && kind === "workflows") {
      needs("submit");
      engine.remove(id);
      return response.writeHead(204).end();
    }
    needs("read");
    if (kind === "workers") return json(response, 200, engine.workers.map(workerInfo));
    if (kind === "pools") return json(response, 200, poolsOf(engine));
    if (kind !== "workflows") throw new Refusal(404, "not_found", "there is no such route");
    if (id === undefined) return this.#list(url, response);
    if (sub === "graph") {
      const workflow = engine.find(id);
      const etag = `"${workflow.id}-${workflow.run}"`;
      response.setHeader("ETag", etag);
      if (request.headers["if-none-match"] === etag) return response.writeHead(304).end();
      return json(response, 200, workflow.graph);
    }
    if (sub === "events")
      return this.#stream(request, url, response, eventsOf(engine, id, request.headers["last-event-id"]));
    if (sub !== "jobs") throw new Refusal(404, "not_found", "there is no such route");
    const found = engine.job(id, job);
    const attempt = Number(url.searchParams.get("attempt") ?? found.job.attempt);
    if (more === undefined) return json(response, 200, jobOf(engine, found));
    if (more === "outputs") return json(response, 200, found.job.outputs);
    if (last === "stream")
      return this.#stream(request, url, response, logOf(engine, id, job, attempt, request.headers["last-event-id"]));
    return json(response, 200, found.job.logs[attempt] ?? []);
  }

  #list(url, response) {
    const [status, text] = [url.searchParams.get("status"), (url.searchParams.get("q") ?? "").toLowerCase()];
    const limit = Number(url.searchParams.get("limit") ?? 100);
    const offset = Number(url.searchParams.get("cursor") ?? 0);
    const all = [...this.engine.workflows.values()]
      .reverse()
      .filter((each) => (!status || each.status === status) && `${each.name}\n${each.id}`.toLowerCase().includes(text));
    if (offset + limit < all.length) {
      const next = new URLSearchParams(url.searchParams);
      next.set("cursor", String(offset + limit));
      response.setHeader("Link", `</api/workflows?${next}>; rel="next"`);
    }
    return json(
      response,
      200,
      all.slice(offset, offset + limit).map((each) => ({
        id: each.id,
        name: each.name,
        status: each.status,
        run: each.run,
        created_at_ms: each.created,
        started_at_ms: each.started,
        finished_at_ms: each.finished,
        jobs: each.jobs.length,
        done: each.jobs.filter((job) => isFinal(job.status)).length,
      })),
    );
  }

  /** Writes what there is, and holds the connection for the rest, unless the caller wants it once. */
  #stream(request, url, response, next) {
    const first = next();
    const holds = !this.holdsNothing && url.searchParams.get("once") !== "true";
    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
    response.write(`retry: ${this.holdsNothing ? 2000 : 1000}\n\n${first.text}`);
    if (first.ended || !holds) return response.end();
    const stop = this.engine.watch(() => {
      let more;
      try {
        more = next();
      } catch {
        more = { text: "", ended: true };
      }
      if (more.text !== "") response.write(more.text);
      if (more.ended) {
        stop();
        response.end();
      }
    });
    response.on("close", stop);
  }
}

function json(response, status, value) {
  response.writeHead(status, {
    "Content-Type": "application/json",
    ...(status === 429 || status === 503 ? { "Retry-After": "1" } : {}),
  });
  response.end(JSON.stringify(value));
}

const event = (type, id, data) => `event: ${type}\nid: ${id}\ndata: ${JSON.stringify(data)}\n\n`;

/** A reader of a run's events: each call gives those since the last one. Ids are `run.version`. */
function eventsOf(engine, id, last) {
  let [run, version] = last ? last.split(".").map(Number) : [undefined, -1];
  return () => {
    const workflow = engine.find(id);
    const state = (job) => [
      workflow.jobs.indexOf(job),
      job.status,
      job.attempt,
      job.ready,
      job.started,
      job.finished,
      job.worker,
    ];
    let text = "";
    if (run === undefined || run !== workflow.run) {
      if (run !== undefined) text += event("rerun", `${workflow.run}.-1`, { run: workflow.run });
      run = workflow.run;
      version = workflow.version;
      text += event("snapshot", `${run}.${version}`, {
        run,
        name: workflow.name,
        status: workflow.status,
        created_at_ms: workflow.created,
        started_at_ms: workflow.started,
        finished_at_ms: workflow.finished,
        jobs: workflow.jobs.map((job, i) => [i, ...state(job).slice(1)]),
      });
    } else if (workflow.version > version) {
      const jobs = workflow.jobs.filter((job) => job.version > version).map(state);
      version = workflow.version;
      text += event("jobs", `${run}.${version}`, { status: workflow.status, jobs });
    }
    const ended = isFinal(workflow.status);
    if (ended)
      text += event("end", `${run}.${version}`, { status: workflow.status, finished_at_ms: workflow.finished });
    return { text, ended };
  };
}

/** A reader of a log. Ids are as the server's: `sequence`, `attempt.sequence` or `run.attempt.sequence`. */
function logOf(engine, id, jobId, attempt, last) {
  let after = last === undefined ? -1 : Number(last.split(".").at(-1));
  return () => {
    const { workflow, job } = engine.job(id, jobId);
    const log = job.logs[attempt] ?? [];
    let text = "";
    for (const chunk of log.slice(after + 1)) {
      const prefix = workflow.run > 1 ? `${workflow.run}.${attempt}.` : attempt > 0 ? `${attempt}.` : "";
      text += event("log", prefix + chunk.sequence, chunk);
      after = chunk.sequence;
    }
    const ended = isFinal(job.status) || attempt < job.attempt;
    if (ended) text += "event: end\ndata: {}\n\n";
    return { text, ended };
  };
}

function jobOf(engine, { workflow, job }) {
  return {
    id: job.id,
    name: job.name,
    status: job.status,
    command: job.run,
    depends_on: job.needs.map((need) => workflow.jobs[need].id),
    required_labels: job.labels,
    max_retries: job.retries,
    attempt: job.attempt,
    attempts: job.attempts,
    started_at: job.started,
    finished_at_ms: job.finished,
    waiting_for: engine.waitingFor(workflow, job),
    outputs: job.outputs,
    worker_id: job.worker,
    exit_code: job.exit,
    error: job.error,
    output: job.error,
    metadata: null,
  };
}

function workerInfo(worker) {
  return {
    worker_id: worker.id,
    labels: worker.labels,
    ...(worker.exclusive ? { exclusive: true } : {}),
    registered_at_ms: worker.registered,
    last_heartbeat_ms: Date.now(),
    current_job: worker.job,
    status: worker.job ? "busy" : "idle",
  };
}

function poolsOf(engine) {
  const pools = new Map();
  for (const workflow of engine.workflows.values()) {
    if (workflow.status !== "running") continue;
    for (const job of workflow.jobs) {
      const pool = pools.get(job.labels.join()) ?? {
        labels: job.labels,
        waiting: 0,
        oldest_ms: null,
        running: 0,
        workers_online: 0,
      };
      pools.set(job.labels.join(), pool);
      pool.workers_online = engine.workers.filter((worker) =>
        job.labels.every((label) => worker.labels.includes(label)),
      ).length;
      if (job.status === "running") pool.running++;
      if (job.status !== "queued" || job.ready === null) continue;
      pool.waiting++;
      pool.oldest_ms = Math.max(pool.oldest_ms ?? 0, Date.now() - job.ready);
    }
  }
  return [...pools.values()];
}
