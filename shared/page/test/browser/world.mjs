// What the browser tests run against: the stand-in, or a real server by the environment.
//
// WFG_PAGE_BIN    the program `wfg`: each file of tests starts a `wfg serve` and three workers of its own
// WFG_PAGE_URL    the address of a server that runs already, instead of one of the tests' own; without both it is the stand-in. If WFG_PAGE_BIN is set
//                 too, the tests start three workers for it; otherwise workers without labels run on this machine
// WFG_PAGE_TOKEN  a token of it with all scopes, labels and secrets
// WFG_PAGE_FUNCTIONS  set if functions of AWS answer, which hold no stream
// WFG_PAGE_KILL   a shell command that kills the server; WFG_PAGE_START one that starts it again with the same data, and returns when it
//                 answers. Without them the tests of a restart are skipped.
// CHROMIUM        the browser; by default the one in the path
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { StandIn } from "../stand-in/server.mjs";
import { Installation } from "./installation.mjs";
import { Workers } from "./workers.mjs";

const FAILURES = path.join(
  path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url)))),
  ".test",
  "failures",
);
/** The longest that a test waits for an event. Nothing waits for this long unless it fails. */
export const PATIENCE = 30_000;

/** A test that takes longer lists the page's last requests. */
const SLOW = 20_000;

class StandInTarget {
  canRestart = true;
  holdsStreams = false;
  #server = new StandIn();
  async open() {
    await this.#server.start();
    for (let i = 1; i <= 3; i++) this.#server.engine.worker(`runner-${i}`);
    this.url = this.#server.url;
    this.token = this.#server.token("all", ["read", "submit", "work", "admin"]);
  }
  async makeToken(name, scopes) {
    return this.#server.token(name, scopes);
  }
  async revoke(name) {
    this.#server.revoke(name);
  }
  holdNothing(on) {
    this.#server.holdsNothing = on;
  }
  kill = () => this.#server.kill();
  start = () => this.#server.start();
  close = () => this.#server.stop();
}

class RealTarget {
  holdsStreams = !process.env.WFG_PAGE_FUNCTIONS;
  #run = Date.now().toString(36);
  async makeToken(name, scopes) {
    const body = JSON.stringify({ name: `${name}-${this.#run}`, scopes, labels: [], secrets: [] });
    const headers = { Authorization: `Bearer ${this.token}`, "Content-Type": "application/json" };
    const answer = await fetch(`${this.url}api/tokens`, { method: "POST", headers, body });
    assert.equal(answer.status, 201, await answer.clone().text());
    return (await answer.json()).token;
  }
  holdNothing() {}
  async revoke(name) {
    const answer = await fetch(`${this.url}api/tokens/${name}-${this.#run}`, {
      method: "DELETE",
      headers: { Authorization: `Bearer ${this.token}` },
    });
    assert.equal(answer.status, 204);
  }
}

/** A server that runs already. */
class RunningTarget extends RealTarget {
  url = process.env.WFG_PAGE_URL.replace(/\/?$/, "/");
  token = process.env.WFG_PAGE_TOKEN;
  canRestart = Boolean(process.env.WFG_PAGE_KILL && process.env.WFG_PAGE_START);
  #folder = mkdtempSync(path.join(tmpdir(), "wfg-page-workers-"));
  #workers = new Workers(process.env.WFG_PAGE_BIN, this.#folder);
  async open() {
    if (process.env.WFG_PAGE_BIN) this.#workers.start(3, this.url.slice(0, -1), this.token);
  }
  kill = async () => void execFileSync("bash", ["-c", process.env.WFG_PAGE_KILL]);
  start = async () => void execFileSync("bash", ["-c", process.env.WFG_PAGE_START]);
  async close() {
    await this.#workers.close();
    rmSync(this.#folder, { recursive: true });
  }
}

/** A server of the tests' own. */
class OwnTarget extends RealTarget {
  canRestart = true;
  hasForges = true;
  #installation;
  constructor(secrets) {
    super();
    this.#installation = new Installation(process.env.WFG_PAGE_BIN, secrets);
  }
  async open() {
    await this.#installation.open(3);
    this.url = this.#installation.url;
    this.token = this.#installation.token;
  }
  kill = () => this.#installation.kill();
  start = () => this.#installation.start();
  close = () => this.#installation.close();
}

function target(secrets) {
  if (process.env.WFG_PAGE_URL) return new RunningTarget();
  return process.env.WFG_PAGE_BIN ? new OwnTarget(secrets) : new StandInTarget();
}

/** A server, a browser, and a folder for the files that jobs wait for. */
export class World {
  #target;
  #folder = mkdtempSync(path.join(tmpdir(), "wfg-page-"));
  #gates = 0;

  constructor(secrets) {
    this.#target = target(secrets);
  }

  /** With secrets, by their names, a server of the tests' own can follow forges. */
  static async open({ secrets = {} } = {}) {
    const world = new World(secrets);
    await world.#target.open();
    const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
    // Chromium refuses to run as root with its sandbox, which is where tests run in a container.
    world.browser = await chromium.launch({ executablePath, args: process.getuid?.() === 0 ? ["--no-sandbox"] : [] });
    return world;
  }

  async close() {
    await this.browser.close();
    await this.#target.close();
    rmSync(this.#folder, { recursive: true });
  }

  get url() {
    return this.#target.url;
  }

  get canRestart() {
    return this.#target.canRestart;
  }

  /** False if the server answers as functions of AWS do, or can: they hold no stream. */
  get holdsStreams() {
    return this.#target.holdsStreams;
  }

  /** False if the server has no link to a forge, and the tests can't make one. */
  get hasForges() {
    return this.#target.hasForges ?? false;
  }

  /** Makes the stand-in answer as a function does. A real server answers as it always does. */
  holdNothing = (on) => this.#target.holdNothing(on);
  kill = () => this.#target.kill();
  start = () => this.#target.start();
  revoke = (name) => this.#target.revoke(name);
  token = (name, scopes) => this.#target.makeToken(name, scopes);

  /** Calls the API with all rights. A text is sent as YAML. */
  async api(method, route, body) {
    const isText = typeof body === "string";
    const type = isText ? "application/yaml" : "application/json";
    const answer = await fetch(this.url + route, {
      method,
      headers: { Authorization: `Bearer ${this.#target.token}`, "Content-Type": type },
      body: body === undefined || isText ? body : JSON.stringify(body),
    });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${route}: ${answer.status} ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  }

  /** Submits a workflow and returns its id. */
  async submit(workflow, { run = true } = {}) {
    return (await this.api("POST", `api/workflows?run=${run}`, workflow)).id;
  }

  /** A file that a job can wait for: its path, and what makes it. */
  gate() {
    const file = path.join(this.#folder, `gate-${this.#gates++}`);
    return { file, open: () => writeFileSync(file, "") };
  }

  /**
   * Runs a test in a browser that nobody has used. Fails if the page reports an error, breaks its Content-Security-Policy, or asks another
   * server for something. A failure leaves a screenshot of each tab in `.test/failures`.
   */
  async use(test, options, body) {
    const context = await this.browser.newContext({
      viewport: { width: 1360, height: 860 },
      reducedMotion: "reduce",
      ...options.context,
    });
    context.setDefaultTimeout(PATIENCE);
    const faults = [];
    // With its path: the API of a stack may have a stage in it.
    const base = this.url;
    context.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(base) && !/^(data|blob):/.test(url)) faults.push(`asked ${url}`);
    });
    const asked = [];
    const begun = Date.now();
    const note = (what) => (request) =>
      asked.push(`${Date.now() - begun} ms ${what} ${request.method()} ${request.url().slice(base.length)}`);
    context.on("request", note("asked"));
    context.on("requestfinished", note("answered"));
    context.on("requestfailed", note("failed"));
    context.on("weberror", (error) => faults.push(`error: ${error.error().stack}`));
    context.on("console", (message) => {
      const isPolicy = /Content Security Policy|TrustedScript|TrustedHTML/i.test(message.text());
      if (isPolicy) faults.push(message.text());
    });
    await context.addInitScript(() => {
      addEventListener("securitypolicyviolation", (event) =>
        console.error(`Content Security Policy: ${event.violatedDirective} ${event.blockedURI}`),
      );
    });
    if (options.token !== null) {
      const token = options.token ?? this.#target.token;
      // As if the reader had signed in: once for the tab, so that signing out stays.
      await context.addInitScript((value) => {
        if (!location.protocol.startsWith("http") || sessionStorage.getItem("test-signed-in")) return;
        sessionStorage.setItem("test-signed-in", "1");
        sessionStorage.setItem("wfg-token", value);
      }, token);
    }
    try {
      await body(context, () => context.newPage());
      assert.deepEqual(faults, []);
    } catch (error) {
      mkdirSync(FAILURES, { recursive: true });
      for (const [i, page] of context.pages().entries()) {
        const file = path.join(FAILURES, `${test.name.replace(/\W+/g, "-").slice(0, 80)}-${i}.png`);
        const state = await page.evaluate(() => `${location.hash} hidden ${document.hidden}`).catch(String);
        test.diagnostic(state);
        await page.screenshot({ path: file }).then(
          () => test.diagnostic(`screenshot: ${file}`),
          () => undefined,
        );
      }
      throw error;
    } finally {
      // What the page asked tells where a slow test lost its time.
      if (Date.now() - begun > SLOW) for (const line of asked.slice(-40)) test.diagnostic(line);
      await context.close();
    }
  }

  /** Opens an address of the page. */
  async visit(page, fragment) {
    await page.goto(`${this.url}${fragment}`);
  }
}

/** Signs in by the form. */
export async function signIn(page, token) {
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
}

/** Waits until the browser has drawn twice: what was asked for in one frame is there. */
export function drawn(page) {
  return page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
}

/** Waits for the words above a log, such as `200 lines, complete`. A search in the whole page would read the log again and again. */
export function logSays(page, text) {
  return page.locator(".log-panel > p.small", { hasText: text }).waitFor();
}

/** Waits for the count of matches of a search in a log. */
export function found(page, text) {
  return page.locator(".log-panel .tools [role=status]", { hasText: text }).waitFor();
}

/** The number of elements of the page. */
export function elements(page) {
  return page.evaluate(() => document.getElementsByTagName("*").length);
}
