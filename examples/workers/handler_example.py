"""A worker whose jobs are run by a Python function instead of a shell.

    SERVER_URL=http://localhost:3000 WORKER_LABELS=deploy python3 examples/workers/handler_example.py

What is returned are the job's outputs, a mapping of names to texts. An exception fails the job, and another try is made
if the job has one left; a ValueError fails it for good.
"""
import worker


def deploy(job, log, stopped):
    """`log(text, stream="stdout")` writes to the job's log; `stopped.is_set()` once nobody wants the result."""
    artifact_url = job["upstream_outputs"]["build"]["artifact_url"]
    log(f"deploying {artifact_url}\n")
    return {"deployed": artifact_url}


if __name__ == "__main__":
    worker.work(deploy)
