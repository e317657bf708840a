// Worker processes that have no labels, for a server with tokens.
import { spawn } from "node:child_process";
import { once } from "node:events";

export class Workers {
  #program;
  #folder;
  #children = [];

  /** `program` is `wfg`. Jobs run in folders in `folder`. */
  constructor(program, folder) {
    this.#program = program;
    this.#folder = folder;
    // Nothing is left behind if a test file ends early.
    process.on("exit", () => this.#children.filter(isRunning).forEach((child) => child.kill("SIGTERM")));
    process.once("SIGTERM", () => process.exit(143));
  }

  /** Starts this many. */
  start(count, url, token) {
    // A worker that is stopped ends its job: a test that failed may have left one that waits for ever.
    const stop = { WORKER_SHUTDOWN_GRACE: "0s", WORKER_GRACE: "1s", RUST_LOG: "error" };
    const env = { ...process.env, ...stop, SERVER_URL: url, WORKER_TOKEN: token };
    for (let i = 1; i <= count; i++) {
      const options = { env, cwd: this.#folder, stdio: ["ignore", "ignore", "inherit"] };
      this.#children.push(spawn(this.#program, ["worker", "--id", `runner-${i}`], options));
    }
  }

  async close() {
    await Promise.all(this.#children.map((worker) => end(worker, "SIGTERM")));
  }
}

export function isRunning(child) {
  return child.exitCode === null && !child.signalCode;
}

/** Ends a process and waits until it is gone. */
export async function end(child, signal) {
  if (!isRunning(child)) return;
  const ended = once(child, "exit");
  child.kill(signal);
  await ended;
}
