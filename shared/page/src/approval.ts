/** Which commits of forks still wait for an approval. */

import type { Delivery } from "./api.ts";

/**
 * Those of a link's deliveries, newest first, whose commit an approval would start. A delivery stays `held` when its commit was
 * approved, or another one came, so newer deliveries of its pull request are looked at.
 */
export function waiting(newestFirst: readonly Delivery[]): Set<Delivery> {
  const found = new Set<Delivery>();
  /** Pull requests with a commit that newer deliveries have settled. The forge's own button names a commit only. */
  const settled = new Set<string>();
  /** The head of each pull request by its newest delivery; `undefined` if it was closed, or starts nothing. */
  const heads = new Map<string, string | undefined>();
  for (const delivery of newestFirst) {
    const { repository, ref = "", commit, event, state } = delivery;
    const pull = repository + ref;
    const at = `${pull} ${commit}`;
    if (event === "approve" && state !== "failed") settled.add(at);
    // A delivery that came late says nothing about the head.
    if (event !== "pull_request" || state === "late") continue;
    if (!heads.has(pull)) heads.set(pull, state === "ignored" ? undefined : commit);
    const isSettled = settled.has(at) || settled.has(`${repository} ${commit}`);
    if (state === "held" && commit !== undefined && heads.get(pull) === commit && !isSettled) found.add(delivery);
    if (state === "held" || state === "accepted") settled.add(at);
  }
  return found;
}
