"""Test the bundle that a registry's webhook names, and promote it if it may be `best`.

    python .github/scripts/staged_model.py EVENT.json [options of `pneumonia registry test`]

EVENT.json is GitHub's event of a `repository_dispatch` (`$GITHUB_EVENT_PATH`), whose `client_payload` is what an
automation of Weights & Biases sent; docs/workflows.md has the template. Whoever can send it may choose which version of
the registry is tested, and nothing else: the payload never says where the registry is (`PNEUMONIA_REGISTRY` does), its
fields are held against patterns, and no shell sees them. What was found goes to `$GITHUB_STEP_SUMMARY`, as Markdown.

Exit code 0: it is `best` now. 1: its tests failed, or the policy refused it. 2: the payload is not what it should be.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

EVENT_TYPE = "staged-model"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
FIELDS = {
    "event_author": re.compile(r"[^\x00-\x1f\x7f]{0,200}"),
    "alias": re.compile(_NAME),
    "artifact_version": re.compile(r"wandb-artifact://[A-Za-z0-9_/=:.+-]{1,300}"),
    "artifact_version_string": re.compile(rf"(?:{_NAME}/){{0,2}}(?P<name>{_NAME}):(?P<version>v\d{{1,9}})"),
    "artifact_collection_name": re.compile(_NAME),
    "project_name": re.compile(_NAME),
    "entity_name": re.compile(_NAME),
}
REQUIRED = {"artifact_version_string", "artifact_collection_name", "project_name"}


class PayloadError(Exception):
    """The event is not one that this script acts on; the message says why, without quoting what was sent."""


def reference(event: Any, place: str) -> str:
    """`name:version` of the bundle that an event names, in the registry at `place`. Raises `PayloadError`.

    A registry of Weights & Biases (`wandb://ENTITY/NAME`) only takes payloads of its own project.
    """
    if not isinstance(event, dict) or event.get("action") != EVENT_TYPE:
        raise PayloadError(f"The event's action is not {EVENT_TYPE!r}.")
    payload = event.get("client_payload")
    if not isinstance(payload, dict):
        raise PayloadError("The event has no client_payload.")
    if unknown := len(set(payload) - set(FIELDS)):
        raise PayloadError(f"client_payload has {unknown} fields that are not known; known are {', '.join(FIELDS)}.")
    if missing := REQUIRED - set(payload):
        raise PayloadError(f"client_payload lacks {', '.join(sorted(missing))}.")
    for field, value in payload.items():
        if not isinstance(value, str) or not FIELDS[field].fullmatch(value):
            raise PayloadError(f"client_payload.{field} does not have the form that it should have.")
    found = FIELDS["artifact_version_string"].fullmatch(payload["artifact_version_string"])
    if not found or found["name"] != payload["artifact_collection_name"]:
        raise PayloadError("artifact_version_string and artifact_collection_name name different collections.")
    if place.startswith("wandb://") and payload["project_name"] != f"wandb-registry-{place.rsplit('/', 1)[1]}":
        raise PayloadError("project_name is not the project of the registry that PNEUMONIA_REGISTRY names.")
    return f"{found['name']}:{found['version']}"


def registry(place: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run `pneumonia registry` with these words; what it says is captured."""
    command = [sys.executable, "-m", "pneumonia", "registry", "--root", place, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def summary(name: str, result: dict[str, Any] | None, outcome: str) -> str:
    """What was found, as Markdown: text from elsewhere stands in code spans, which render nothing."""
    lines = [f"### Staged model {_code(name)}", "", outcome, ""]
    if result:
        lines += ["| check | outcome | found |", "| --- | --- | --- |"]
        lines += [
            f"| {_code(check['name'])} | {_code(check['outcome'])} | {_code(check['words'])} |"
            for check in result["checks"]
        ]
    return "\n".join([*lines, ""])


def _code(text: str) -> str:
    plain = re.sub(r"[`|\s]+", " ", text).strip()
    return f"`{plain[:300] or ' '}`"


def main(arguments: list[str]) -> int:
    """Validate, test, promote, and say what came of it."""
    place = os.environ.get("PNEUMONIA_REGISTRY", "")
    try:
        if not place:
            raise PayloadError("PNEUMONIA_REGISTRY does not say where the registry is.")
        name = reference(json.loads(Path(arguments[0]).read_text(encoding="utf-8")), place)
    except (PayloadError, ValueError, OSError, IndexError) as error:
        print(f"Refused: {error}" if isinstance(error, PayloadError) else "Refused: the event is no JSON file.")
        return 2
    tested = registry(place, "test", name, "--json", *arguments[1:])
    try:
        result = json.loads(tested.stdout)
    except ValueError:
        result = None
    if tested.returncode == 0 and result:
        promoted = registry(place, "promote", name)
        good, outcome = promoted.returncode == 0, (promoted.stdout + promoted.stderr).strip()
        outcome = f"**Promoted to best.** {_code(outcome)}" if good else f"**Not promoted**: {_code(outcome)}"
    else:
        good, outcome = False, "**Its staged tests failed**, and it was not promoted."
        if not result:
            outcome += f" {_code(tested.stderr.strip())}"
    text = summary(name, result, outcome)
    print(text)
    if target := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(target).open("a", encoding="utf-8") as file:
            file.write(text)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
