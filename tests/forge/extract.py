"""Takes out of GitHub's published material what the tests of forges use. Both packages are under the MIT licence.

    npm pack @octokit/openapi@23.0.2 @octokit/webhooks-examples@7.6.1   # unpack each with `tar xzf`
    python3 tests/forge/extract.py FOLDER_OF_OPENAPI FOLDER_OF_WEBHOOKS_EXAMPLES

Writes `tests/forge/github-requests.json` (the operations that the GitHub adapter calls: path, parameters, body) and
`shared/forge/tests/deliveries` (deliveries as GitHub sent them). The licence goes along.
"""

import json
import pathlib
import shutil
import sys

OPERATIONS = [
    ("get", "/repos/{owner}/{repo}"),
    ("get", "/repos/{owner}/{repo}/git/ref/{ref}"),
    ("get", "/repos/{owner}/{repo}/commits/{ref}"),
    ("get", "/repos/{owner}/{repo}/pulls/{pull_number}"),
    ("get", "/repos/{owner}/{repo}/pulls/{pull_number}/files"),
    ("get", "/repos/{owner}/{repo}/contents/{path}"),
    ("get", "/repos/{owner}/{repo}/compare/{basehead}"),
    ("post", "/repos/{owner}/{repo}/check-runs"),
    ("patch", "/repos/{owner}/{repo}/check-runs/{check_run_id}"),
    ("get", "/repos/{owner}/{repo}/commits/{ref}/check-runs"),
    ("post", "/repos/{owner}/{repo}/statuses/{sha}"),
    ("get", "/repos/{owner}/{repo}/commits/{ref}/statuses"),
    ("get", "/repos/{owner}/{repo}/collaborators/{username}/permission"),
    ("post", "/app/installations/{installation_id}/access_tokens"),
    ("get", "/app/hook/deliveries"),
    ("post", "/app/hook/deliveries/{delivery_id}/attempts"),
]
# Event, action, and which of the examples with both, from 0.
DELIVERIES = [
    ("push", None, 0, "push-tag"),
    ("push", None, 4, "push-branch"),
    ("pull_request", "opened", 0, "pull-request-opened"),
    ("pull_request", "synchronize", 0, "pull-request-synchronize"),
    ("pull_request", "reopened", 0, "pull-request-reopened"),
    ("pull_request", "closed", 0, "pull-request-closed"),
    ("pull_request", "labeled", 0, "pull-request-labeled"),
    ("check_run", "rerequested", 0, "check-run-rerequested"),
    ("check_run", "requested_action", 0, "check-run-requested-action"),
    ("check_run", "created", 0, "check-run-created"),
    ("check_suite", "rerequested", 0, "check-suite-rerequested"),
    ("merge_group", "checks_requested", 0, "merge-group-checks-requested"),
    ("ping", None, 0, "ping"),
    ("installation_repositories", None, 0, "installation-repositories"),
]


def resolved(value, document):
    """The value without references and without texts that no check reads."""
    if isinstance(value, list):
        return [resolved(item, document) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("$ref"), str):
        target = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return resolved(target, document)
    drop = ("example", "examples", "externalDocs", "x-github", "x-octokit")
    kept = {key: resolved(item, document) for key, item in value.items() if key not in drop}
    if isinstance(kept.get("description"), str):
        del kept["description"]
    return kept


def main(openapi, examples):
    here = pathlib.Path(__file__).resolve().parent
    root = here.parent.parent
    document = json.loads((openapi / "generated/api.github.com.json").read_text())
    operations = []
    for method, path in OPERATIONS:
        found = document["paths"][path][method]
        body = found.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        operations.append(
            {
                "method": method.upper(),
                "path": path,
                "parameters": resolved(found.get("parameters", []), document),
                "body": resolved(body, document),
            }
        )
    extract = {"from": "npm @octokit/openapi 23.0.2, generated/api.github.com.json", "licence": "MIT", "operations": operations}
    (here / "github-requests.json").write_text(json.dumps(extract, indent=1) + "\n")
    shutil.copy(openapi / "LICENSE", here / "LICENSE-octokit-openapi")

    folder = root / "shared/forge/tests/deliveries"
    folder.mkdir(parents=True, exist_ok=True)
    groups = {group["name"]: group["examples"] for group in json.loads((examples / "api.github.com/index.json").read_text())}
    for event, action, index, name in DELIVERIES:
        fitting = [example for example in groups[event] if action is None or example.get("action") == action]
        (folder / f"{name}.json").write_text(json.dumps(fitting[index], separators=(",", ":"), ensure_ascii=False) + "\n")
    licence = json.loads((examples / "package.json").read_text())
    about = f"From npm {licence['name']} {licence['version']}, api.github.com/index.json, taken out by tests/forge/extract.py.\n"
    about += f"Licence: {licence['license']}. Author: {licence['author']}.\n"
    (folder / "README").write_text(about)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
