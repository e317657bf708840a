// The stacks of a graph, for the stand-in. The rule of the project is in shared/engine.

/** Sweeps along and against the needs until nothing splits. Returns the names of the stacks, and the stack of each job or null. */
export function stacksOf(jobs) {
  const dependents = jobs.map(() => []);
  jobs.forEach((job, i) => job.needs.forEach((need) => dependents[need].push(i)));
  const order = [];
  const open = jobs.map((job) => job.needs.length);
  open.forEach((n, i) => n === 0 && order.push(i));
  for (let k = 0; k < order.length; k++)
    for (const next of dependents[order[k]]) if (--open[next] === 0) order.push(next);
  let names = new Map();
  const number = (key) => {
    if (!names.has(key)) names.set(key, names.size);
    return names.get(key);
  };
  let colours = jobs.map((job) => number(`${job.id.replace(/\d+/g, "*")}\0${job.labels}`));
  let [size, same] = [names.size, 0];
  for (let sweep = 0; same < 2; sweep++) {
    if (sweep === 20) return { stacks: [], of: jobs.map(() => null) };
    names = new Map();
    const next = new Array(jobs.length);
    const along = sweep % 2 === 0;
    for (const i of along ? order : [...order].reverse()) {
      const near = [...new Set((along ? jobs[i].needs : dependents[i]).map((job) => next[job]))].sort((a, b) => a - b);
      next[i] = number(`${colours[i]}|${near}`);
    }
    colours = next;
    same = names.size === size ? same + 1 : 0;
    size = names.size;
  }
  const members = new Map();
  colours.forEach((colour, i) => members.set(colour, [...(members.get(colour) ?? []), i]));
  const stacks = [];
  const of = jobs.map(() => null);
  for (const group of members.values()) {
    if (group.length < 4) continue;
    for (const i of group) of[i] = stacks.length;
    stacks.push(jobs[group[0]].id.replace(/\d+/g, "*"));
  }
  return { stacks, of };
}
