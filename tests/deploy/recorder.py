#!/usr/bin/env python3
"""Stands for gcloud, curl, make and sudo while scripts of deploy/gcp are tested: records, and remembers what was made.

Its name is the command that it stands for. In the folder RECORDER: `calls` gets a line of JSON for each call, `made`
what exists, `exits` the exit codes of commands that are to fail. The real gcloud checks the calls later.
"""

import json
import os
import re
import sys
from pathlib import Path

FOLDER = Path(os.environ["RECORDER"])
NAME = Path(sys.argv[0]).name
WORDS = sys.argv[1:]


def flag(name: str) -> str:
    return next((word.partition("=")[2] for word in WORDS if word.startswith(f"--{name}=")), "")


def made() -> set[str]:
    path = FOLDER / "made"
    return set(path.read_text().splitlines()) if path.exists() else set()


def remember(what: str) -> None:
    (FOLDER / "made").write_text("\n".join(sorted(made() | {what})) + "\n")


def identity(verb: int) -> str:
    """What a command is about: its kind, and the name or display name of the one."""
    named = next((word for word in WORDS[verb + 1 :] if not word.startswith("--") and word != "github"), "")
    file = flag("policy-from-file") or flag("config-from-file")
    title = json.loads(Path(file).read_text()) if file else {}
    if "dashboards" in WORDS:
        title = {}
        named = named or "pneumonia"
    # An account is made by its name, and described by its address.
    named = named.removesuffix("@your-project.iam.gserviceaccount.com")
    name = flag("name") or named or title.get("displayName") or flag("display-name")
    if "channels" in WORDS:
        name = flag("channel-labels").removeprefix("email_address=")
    if "versions" in WORDS:
        name = flag("secret") or named
    return " ".join([*WORDS[:verb], str(name)])


def gcloud() -> int:
    if WORDS[:2] == ["auth", "print-access-token"]:
        sys.stdout.write("the-token\n")
    for verb, word in enumerate(WORDS):
        if word in ("create", "add") and "ssh" not in WORDS:
            remember(identity(verb))
            return 0
        if word == "describe":
            there = identity(verb) in made()
            if there and flag("format") == "value(etag)":
                sys.stdout.write("etag-1\n")
            return 0 if there else 1
        if word in ("list", "list-configs"):
            asked = re.search(r'(?:displayName|email_address)="?([^"]*?)"?(?: AND|$)', flag("filter"))
            kind = " ".join(WORDS[:verb])
            if asked and f"{kind} {asked[1]}" in made():
                sys.stdout.write(f"projects/1/{WORDS[verb - 1]}/42\n")
            return 0
    return 0


def curl() -> int:
    url = WORDS[-1]
    method = WORDS[WORDS.index("--request") + 1]
    if method == "POST":
        collection, _, name = url.partition("?")
        remember(f"curl {collection}/{name.partition('=')[2]}")
    return 22 if method == "GET" and f"curl {url}" not in made() else 0


piped = sys.stdin.read() if NAME == "curl" else ""
with (FOLDER / "calls").open("a") as calls:
    calls.write(json.dumps([NAME, *WORDS, *([piped] if piped else [])]) + "\n")
exits = FOLDER / "exits"
codes = json.loads(exits.read_text()) if exits.exists() else {}
sys.exit(codes.get(NAME) or {"gcloud": gcloud, "curl": curl}.get(NAME, int)())
