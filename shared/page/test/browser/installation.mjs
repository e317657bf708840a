// A `wfg serve` on a file, with workers, on a free port of the loopback address.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { Workers, end, isRunning } from "./workers.mjs";

/** The address by which a server with secrets is told that forges reach it. */
export const PUBLIC_URL = "https://wfg.example.com";

export class Installation {
  #program;
  #folder = mkdtempSync(path.join(tmpdir(), "wfg-page-serve-"));
  #listen = "127.0.0.1:0";
  #server;
  #workers;
  #options = [];

  /** With secrets, by their names, the server has them, and can follow forges. */
  constructor(program, secrets) {
    this.#program = program;
    for (const [name, input] of Object.entries(secrets)) {
      execFileSync(program, ["secret", "set", name, "--file", "keys.json"], { cwd: this.#folder, input });
      this.#options = ["--secrets", "keys.json", "--public-url", PUBLIC_URL];
    }
    this.#workers = new Workers(program, this.#folder);
    // Nothing is left behind if a test file ends early.
    process.on("exit", () => this.#server && isRunning(this.#server) && this.#server.kill("SIGTERM"));
  }

  /** Starts the server and this many workers, which have no labels. */
  async open(workers) {
    await this.start();
    this.#workers.start(workers, this.url, this.token);
  }

  /** Starts the server, again at the same address and with the same data, and waits until it listens. */
  async start() {
    const args = [
      "serve",
      "--auth",
      "--data",
      path.join(this.#folder, "wfg.db"),
      "--listen",
      this.#listen,
      ...this.#options,
    ];
    this.#server = spawn(this.#program, args, { cwd: this.#folder, stdio: ["ignore", "pipe", "inherit"] });
    let isListening = false;
    for await (const line of createInterface({ input: this.#server.stdout })) {
      const address = line.match(/^wfg serves (http:\/\/(\S+))$/);
      if (address) [isListening, this.url, this.#listen] = [true, `${address[1]}/`, address[2]];
      // The last line of the first start.
      this.token ??= line.match(/^the first token, .*: (\S+)$/)?.[1];
      if (isListening && this.token) break;
    }
    // What else it prints must not fill the pipe.
    this.#server.stdout.resume();
    assert.ok(isListening && this.token, "wfg serve ended without saying its address and first token");
  }

  async kill() {
    await end(this.#server, "SIGKILL");
  }

  async close() {
    // The workers first: they tell the server what became of their jobs.
    await this.#workers.close();
    await this.kill();
    rmSync(this.#folder, { recursive: true });
  }
}
