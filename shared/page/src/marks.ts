/** The sign of each status: a status is never shown by colour alone. */

import type { Status } from "./api.ts";

export const MARKS: Record<Status, string> = {
  success: "✓",
  failure: "✕",
  running: "●",
  queued: "○",
  skipped: "–",
  cancelled: "⊘",
};
