"""A worker in Python 3.9 or newer, with its standard library only: one job at a time, until SIGTERM.

`work(handler)` runs a function in place of a shell, as handler_example.py does. It gets the job as it was claimed:
job["upstream_outputs"]["build"]["artifact_url"] is the output `artifact_url` of `build`, which it needs."""
import base64, contextlib, itertools, json, os, queue, random, re, signal, subprocess, tempfile, threading, time
from concurrent import futures
from http.client import HTTPException
from pathlib import Path
from urllib import parse, request

SCHEME, USER, HOST = re.match("(.*?://)(?:(.*)@)?(.*)", os.environ.get("SERVER_URL", "http://localhost:3000")).groups()
SERVER, HEADERS = SCHEME + HOST.rstrip("/"), {"Content-Type": "application/json"}
if USER: HEADERS["Authorization"] = "Basic " + base64.b64encode(parse.unquote_to_bytes(USER)).decode()
WORKER = {"worker_id": os.environ.get("WORKER_ID") or f"python-{random.randrange(16**8):08x}",
          "labels": os.environ.get("WORKER_LABELS", "").replace(",", " ").split()}
TTL, POLL = int(os.environ.get("WORKER_LEASE_TTL", 30)), float(os.environ.get("WORKER_POLL", 2))  # seconds
STOPPING, TROUBLE = [], (OSError, HTTPException, ValueError)  # no answer, or one that refuses, with a `code`
OUTPUT = re.compile(r"^(?:([A-Za-z0-9_.-]+)(?:=(.*)|<<(.+)\n((?:.*\n)*?)\3))?(?:\n|\Z)", re.MULTILINE)

def call(path, body, until=None):
    """The answer. If there is none, or the server is in trouble, asks again until then, or else until SIGTERM."""
    for pause in (min(0.25 * 2**n, 10) for n in itertools.count()):
        try:
            asked = request.Request(SERVER + path, json.dumps(body).encode(), HEADERS)
            with request.urlopen(asked, timeout=20) as answer: return json.loads(answer.read() or "null")
        except TROUBLE as trouble:
            if hasattr(trouble, "code"): trouble.msg = trouble.read().decode(errors="replace")
            trouble.final = 400 <= getattr(trouble, "code", 500) < 500 and trouble.code != 429  # asking again is no use
            if trouble.final or until and time.monotonic() + pause > until: raise
            if STOPPING and not until: raise SystemExit
        time.sleep(pause * random.uniform(0.75, 1.25))

def attempt(job, lease, handler):
    """Runs a claimed job: renews its lease, sends its log, then reports how it ended."""
    path, ttl, chunks = f"/api/jobs/{parse.quote(lease['lease_id'], '')}", lease["ttl_secs"], []
    lines, numbers, stopped, ends = queue.Queue(1000), itertools.count(), threading.Event(), time.monotonic() + ttl
    def log(text, stream="stdout"):
        for n in range(0, len(text), 1024): lines.put({"sequence": next(numbers), "data": text[n:n + 1024], "stream": stream})
    running = futures.ThreadPoolExecutor().submit(handler, job, log, stopped)
    try:
        while not running.done() or not lines.empty() or chunks:
            futures.wait([running], 0.3 if lines.qsize() < 300 else 0)
            chunks += [lines.get() for _ in range(min(lines.qsize(), 300 - len(chunks)))]
            try: chunks = chunks and [call(path + "/logs", {"chunks": chunks}, ends - ttl * 2 / 3)] and []
            except TROUBLE as trouble:
                if trouble.final: raise
            if (now := time.monotonic()) > ends - ttl * 2 / 3:
                if call(path + "/heartbeat", {}, ends)["cancelled"]: raise ValueError("it was cancelled")
                ends = now + ttl
        if problem := running.exception():  # if it is a ValueError, trying again is no use
            code, again = getattr(problem, "returncode", None), not isinstance(problem, ValueError)
            call(path + "/fail", {"error": str(problem), "retryable": again, "exit_code": code}, ends)
        else: call(path + "/complete", {"outputs": running.result() or {}}, ends)
    except TROUBLE as trouble:
        stopped.set()
        while not running.done():
            with contextlib.suppress(queue.Empty): lines.get(timeout=0.1)
        print(f"{job['workflow_id']} {job['job_id']}: {trouble}", flush=True)
        if getattr(trouble, "code", 0) in (400, 413, 422):  # outputs that it can't take fail the job
            with contextlib.suppress(*TROUBLE): call(path + "/fail", {"error": str(trouble)}, ends)

def run_command(job, log, stopped):
    """Runs the job's command with `sh -c`, in a process group of its own; the outputs that it gave."""
    with tempfile.TemporaryDirectory(prefix="workflow-graph-") as folder:
        file, upstream, own = Path(folder) / "outputs", Path(folder) / "upstream", Path(folder) / "job"
        env = {"WORKFLOW_ID": job["workflow_id"], "JOB_ID": job["job_id"], "JOB_ATTEMPT": str(job["attempt"]),
               "WORKER_SLOT": "0", "WORKFLOW_OUTPUT": file, "UPSTREAM_OUTPUTS": upstream, "JOB_DIR": own}
        own.mkdir(), file.touch(), upstream.write_text(json.dumps(job["upstream_outputs"]) + "\n")
        how = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        process = subprocess.Popen(["sh", "-c", job["command"]], env={**os.environ, **env, "SERVER_URL": SERVER}, **how)
        given, source = [], job.get("outputs_from")
        def read(stream):
            for line in iter(lambda: getattr(process, stream).readline(2**21), b""):
                if stream == "stdout" and line.startswith(b"::set-output ") and source != "file":
                    given.append(re.sub(rb"^name=([A-Za-z0-9_.-]+)::", rb"\1=", line[13:].rstrip(b"\n")))
                log(line.decode(errors="replace"), stream)
        readers = [threading.Thread(target=read, args=(name,), daemon=True) for name in ("stdout", "stderr")]
        for reader in readers: reader.start()
        while process.poll() is None and not stopped.wait(0.02): pass
        with contextlib.suppress(ProcessLookupError):  # raised when nobody is left, nor of what the command started
            os.killpg(process.pid, signal.SIGTERM)
            for _ in range(500): process.poll(); os.killpg(process.pid, 0); time.sleep(0.02)
            os.killpg(process.pid, signal.SIGKILL)
        for reader in readers: reader.join(5)
        if code := process.wait(): raise subprocess.CalledProcessError(code if code > 0 else 128 - code, "sh")
        if source != "stdout" and file.exists(): given.append(file.read_bytes())
        text = b"\n".join(given).decode()
        if wrong := OUTPUT.sub("", text): raise ValueError(f"neither name=value nor name<<END: {wrong[:200]!r}")
        return {name: block[:-1] if end else value for name, value, end, block in OUTPUT.findall(text) if name}

def work(handler=run_command):
    """Claims and runs jobs until SIGTERM; running jobs are finished."""
    signal.signal(signal.SIGTERM, lambda *_: STOPPING.append(True))
    call("/api/workers/register", WORKER)
    while not STOPPING:
        claimed = call("/api/jobs/claim", {**WORKER, "lease_ttl_secs": TTL, "wait_secs": 5})
        attempt(**claimed, handler=handler) if claimed else time.sleep(POLL * random.uniform(0.75, 1.25))

if __name__ == "__main__": work()
