// Workflows for the tests. Commands are for bash, so that the stand-in and real workers run them alike.

/** A release of 20 jobs: what the page shows most often. `fails`: one of them fails at line 120 of its log. */
export function demo({ fails = true, name = "release" } = {}) {
  const say = (text) => `printf '\\033[1m==> %s\\033[0m\\n' '${text}'; sleep 0.1; echo done`;
  const jobs = { checkout: { run: say("git fetch") }, dependencies: { needs: "checkout", run: say("cargo fetch") } };
  for (const job of ["lint", "format", "typecheck"]) jobs[job] = { needs: "dependencies", run: say(job) };
  for (const os of ["linux", "macos", "windows", "arm"]) {
    jobs[`build-${os}`] = { needs: "dependencies", run: say(`cargo build on ${os}`) };
    jobs[`unit-${os}`] = { needs: `build-${os}`, run: say("cargo test") };
  }
  // All in one stream: a worker reads two of them side by side, in no fixed order.
  const failing =
    "for i in $(seq 119); do echo \"test case_$i ... ok\"; done; printf 'test case_120 ... \\033[31mFAILED\\033[0m\\n'; echo 'assertion failed'; exit 101";
  jobs.integration = { needs: ["build-linux", "build-arm"], run: fails ? failing : say("cargo test") };
  jobs["end-to-end"] = { needs: "build-linux", run: say("playwright") };
  jobs.package = {
    needs: [
      "unit-linux",
      "unit-macos",
      "unit-windows",
      "unit-arm",
      "integration",
      "end-to-end",
      "lint",
      "format",
      "typecheck",
    ],
    run: say("package"),
  };
  jobs.scan = { needs: "package", run: say("scan") };
  jobs["deploy-staging"] = { needs: "package", run: say("deploy") };
  jobs.smoke = { needs: "deploy-staging", run: say("smoke") };
  jobs["deploy-production"] = { needs: ["smoke", "scan"], run: say("deploy") };
  return { name, jobs };
}

/** A job that runs until the file `gate` exists. */
export function waiting(gate) {
  return `until [ -e '${gate}' ]; do sleep 0.05; done; echo opened`;
}

/** Chains side by side. */
export function chains(count) {
  const length = Math.min(100, count / 2);
  const jobs = {};
  for (let lane = 0; lane < count / length; lane++) {
    // Words, not numbers, so that the lanes are no stack.
    const name = String.fromCharCode(97 + (lane % 26)) + String.fromCharCode(97 + Math.floor(lane / 26));
    for (let step = 0; step < length; step++)
      jobs[`${name}-${step}`] = { run: "true", ...(step > 0 ? { needs: `${name}-${step - 1}` } : {}) };
  }
  return { name: `chains of ${count}`, jobs };
}

export function fan(count) {
  const jobs = { split: { run: "true" } };
  for (let i = 0; i < count - 2; i++) jobs[`shard-${i}`] = { needs: "split", run: "true" };
  jobs.merge = { needs: Object.keys(jobs).slice(1), run: "true" };
  return { name: `fan of ${count}`, jobs };
}

/** Jobs with one to three needs among the 60 before them. The same count gives the same graph. */
export function irregular(count) {
  let state = count;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 4294967296;
  };
  const words = ["build", "test", "scan", "fetch", "train", "load", "pack", "sign", "lint", "plan"];
  const ids = [];
  const jobs = {};
  for (let i = 0; i < count; i++) {
    const needs = new Set();
    for (let k = 0; i >= 8 && k < 1 + Math.floor(random() * 3); k++)
      needs.add(ids[i - 1 - Math.floor(random() * Math.min(i, 60))]);
    ids.push(`${words[Math.floor(random() * 10)]}-${i}`);
    jobs[ids[i]] = { run: "true", ...(needs.size > 0 ? { needs: [...needs] } : {}) };
  }
  return { name: `random ${count}`, jobs };
}
