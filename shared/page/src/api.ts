/**
 * The answers of the API, as the page reads them: the one place where their shapes are written down. Times are milliseconds since
 * 1970. A client ignores fields that it doesn't know.
 */

export type Status = "queued" | "running" | "success" | "failure" | "skipped" | "cancelled";

/** Every status, the most urgent first. */
export const STATUSES: readonly Status[] = ["failure", "running", "queued", "cancelled", "skipped", "success"];

export function isFinal(status: Status): boolean {
  return status !== "queued" && status !== "running";
}

export type Scope = "read" | "submit" | "work" | "admin" | "approve";

/** `GET /api/me`: who the caller is. */
export interface Me {
  /** `none`: the server asks for no token. */
  auth: "none" | "token";
  /** The token's name. */
  name: string | null;
  scopes: Scope[];
  /** The labels that the token allows; `*`: all. */
  labels: string[] | "*";
  secrets: string[] | "*";
  expires_at_ms: number | null;
}

/** An entry of `GET /api/workflows?view=summary&q=&status=&limit=`. The next page is in the `Link` header. */
export interface Summary {
  id: string;
  name: string;
  status: Status;
  run: number;
  created_at_ms: number;
  started_at_ms: number | null;
  finished_at_ms: number | null;
  /** The number of jobs. */
  jobs: number;
  /** The number of jobs whose status is final. */
  done: number;
}

/** A job of a graph: its id, its name if that differs, the indexes of its needs, the index of its labels, and of its stack. */
export type GraphJob = [id: string, name: string | null, needs: number[], labels: number, stack: number | null];

/** `GET /api/workflows/{id}/graph`. It changes with the run only, and has an `ETag`. */
export interface Graph {
  run: number;
  labels: string[][];
  /** The names of the stacks. */
  stacks: string[];
  jobs: GraphJob[];
}

/** The state of a job in an event: its index in the graph, and its current or last attempt. */
export type JobState = [
  index: number,
  status: Status,
  attempt: number,
  ready_ms: number | null,
  started_ms: number | null,
  finished_ms: number | null,
  worker: string | null,
];

/**
 * The events of `GET /api/workflows/{id}/events`: `snapshot` with all jobs, then `jobs` with those that changed. With the query
 * `once=true` the server answers what there is and ends. The request's `Last-Event-ID` says where to go on.
 */
export interface JobsEvent {
  /** The run's status. */
  status: Status;
  jobs: JobState[];
}

/** The first event of a run. */
export interface SnapshotEvent extends JobsEvent {
  run: number;
  name: string;
  created_at_ms: number;
  started_at_ms: number | null;
  finished_at_ms: number | null;
}

/** `rerun`: the workflow was started again. A `snapshot` follows. */
export interface RerunEvent {
  run: number;
}

/** `end`: the run is final. The stream ends. */
export interface EndEvent {
  status: Status;
  finished_at_ms: number | null;
}

export type Cause = "failure" | "lost" | "timeout" | "queue_timeout" | "returned";

/** An attempt that failed. */
export interface Attempt {
  attempt: number;
  cause: Cause;
  error: string;
  worker_id?: string;
  exit_code?: number;
  started_at?: number;
  finished_at_ms: number;
}

export type WaitReason = "needs" | "no_worker" | "missing_labels" | "exclusive" | "busy" | "delayed";

/** Why a queued job doesn't run yet. */
export interface WaitingFor {
  reason: WaitReason;
  since_ms: number;
  needs?: string[];
  missing?: string[];
  nearest?: string;
  busy?: number;
  until_ms?: number;
  paused?: { worker_id: string; reason: string }[];
}

/** `GET /api/workflows/{id}/jobs/{job_id}`. */
export interface Job {
  id: string;
  name: string;
  status: Status;
  command: string;
  depends_on: string[];
  required_labels: string[];
  secrets?: string[];
  matrix?: Record<string, string>;
  max_retries: number;
  attempt: number;
  returned?: number;
  attempts?: Attempt[];
  started_at: number | null;
  finished_at_ms: number | null;
  waiting_for: WaitingFor | null;
  outputs: Record<string, string>;
  outputs_truncated?: boolean;
  worker_id: string | null;
  exit_code: number | null;
  error: string | null;
}

/** A piece of a log: an entry of `GET .../jobs/{job_id}/logs`, and the data of an event `log` of `.../logs/stream`. */
export interface LogChunk {
  sequence: number;
  data: string;
  timestamp_ms: number;
  stream: "stdout" | "stderr";
}

/** An entry of `GET /api/workers`. */
export interface WorkerInfo {
  worker_id: string;
  labels: string[];
  exclusive?: boolean;
  registered_at_ms: number;
  last_heartbeat_ms: number;
  current_job: string | null;
  status: "idle" | "busy" | "offline";
  paused?: string;
}

/** An entry of `GET /api/pools`. */
export interface PoolInfo {
  labels: string[];
  secrets?: string[];
  waiting: number;
  waiting_is_capped?: boolean;
  oldest_ms: number | null;
  running: number;
  workers_online: number;
}

/** An entry of `GET /api/forges`: the link of one repository. The repositories of an App share a name. */
export interface LinkInfo {
  name: string;
  /** `github`, `gitlab` or `gitea`. */
  forge: string;
  repository: string;
  /** The link's file, in YAML. */
  file: string;
  linked_at_ms: number;
}

/** An entry of `GET /api/forges/{link}/deliveries`, newest first. */
export interface Delivery {
  id: string;
  at_ms: number;
  repository: string;
  event: string;
  /** A branch, a tag, or `#12` for a pull request. */
  ref?: string;
  commit?: string;
  state: string;
  reason?: string;
  workflows: string[];
}

/** The answer of `POST /api/forges/{link}/approve`: a delivery that stands for it, or why nothing follows. */
export interface Received {
  delivery?: string;
  ignored?: string;
}

/** The body of every error. */
export interface ErrorBody {
  error: { code: string; message: string; details?: { problems?: Problem[] } | null };
}

/** A problem of a definition. */
export interface Problem {
  code: string;
  message: string;
  path: string;
  line?: number;
  column?: number;
}

const one = (id: string) => `api/workflows/${encodeURIComponent(id)}`;
const job = (id: string, of: string) => `${one(id)}/jobs/${encodeURIComponent(of)}`;

/** Paths of the API, relative to the page: a stack's address may have a stage before them. */
export const paths = {
  me: "api/me",
  workers: "api/workers",
  pools: "api/pools",
  workflows: "api/workflows",
  forges: "api/forges",
  deliveries: (link: string) => `api/forges/${encodeURIComponent(link)}/deliveries`,
  approve: (link: string) => `api/forges/${encodeURIComponent(link)}/approve`,
  graph: (id: string) => `${one(id)}/graph`,
  events: (id: string) => `${one(id)}/events`,
  run: (id: string) => `${one(id)}/run`,
  cancel: (id: string) => `${one(id)}/cancel`,
  job,
  logs: (id: string, of: string, attempt: number) => `${job(id, of)}/logs?attempt=${attempt}`,
  logStream: (id: string, of: string, attempt: number) => `${job(id, of)}/logs/stream?attempt=${attempt}`,
  outputs: (id: string, of: string, attempt: number) => `${job(id, of)}/outputs?attempt=${attempt}`,
};
