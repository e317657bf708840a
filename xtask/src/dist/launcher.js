#!/usr/bin/env node
"use strict";
// Starts the program of the package for this platform, and ends as it ends.
const { spawn } = require("node:child_process");
const { constants } = require("node:os");

const name = `wfg-${process.platform}-${process.arch}`;
let program;
try {
  program = require.resolve(`${name}/bin/wfg`);
} catch {
  console.error(
    `error: the npm package ${name} with the program is missing. It is an optional dependency: install without ` +
      `--omit=optional. If npm has no such package, wfg isn't built for ${process.platform} on ${process.arch}.`,
  );
  process.exit(2);
}
const child = spawn(program, process.argv.slice(2), { stdio: "inherit" });
child.on("error", (error) => {
  console.error(`error: ${program} can't be started: ${error.message}`);
  process.exit(2);
});
// A terminal sends SIGINT to the program too. A second one would end the program at once.
const onTerminal = [process.stdin, process.stdout, process.stderr].some((stream) => stream.isTTY);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => signal === "SIGINT" && onTerminal || child.kill(signal));
}
child.on("exit", (code, signal) => process.exit(signal ? 128 + constants.signals[signal] : code));
