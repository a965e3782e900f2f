"""Send a real server thousands of hostile files, each followed by a film whose answer is known.

Every hostile file has to be answered in time: by 200 where it still is a film, else by a documented 4xx with the
contract's body. Every film in between has to get the answer that it gets alone. Exits 1 on any violation.

    python -m benchmarks.abuse --files 2000 --seed 0
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.hostile_files import HostileFile, hostile_files, sound_films
from benchmarks.load_generator import multipart, run_load
from benchmarks.server_process import pneumonia_serve, serve
from pneumonia.bundle import REFERENCE
from pneumonia.serving.errors import CODE_OF_STATUS, STATUS_OF_IMAGE_ERROR

# A film's probability depends on what is in its batch by rounding alone.
_ROUNDING = 1e-4
_CODES = {*CODE_OF_STATUS.values(), *(error.code for error in STATUS_OF_IMAGE_ERROR)}


@dataclass
class Abuse:
    """Hostile files and films in turn, and what is wrong with the answers to them."""

    files: Sequence[HostileFile]
    films: Sequence[bytes]
    known: Sequence[dict[str, Any]]
    answers: dict[str, Counter[int]] = field(default_factory=dict)

    def requests(self) -> list[bytes]:
        """A hostile file, a film, and so on."""
        pairs = [(file.data, self.films[index % len(self.films)]) for index, file in enumerate(self.files)]
        return [multipart(data, name="upload", kind="application/octet-stream") for pair in pairs for data in pair]

    def check(self, index: int, status: int, body: bytes) -> str:
        """What is wrong, in words that do not depend on the file."""
        number, is_film = divmod(index, 2)
        if is_film:
            return self._check_film(number % len(self.films), status, body)
        file = self.files[number]
        self.answers.setdefault(file.kind, Counter())[status] += 1
        if status not in file.statuses:
            return f"{file.kind}: status {status}"
        return f"{file.kind}: {wrong}" if (wrong := check_body(status, body)) else ""

    def _check_film(self, place: int, status: int, body: bytes) -> str:
        if status != 200:
            return f"a film: status {status}"
        answer, known = json.loads(body), self.known[place]
        near = abs(answer["probability"] - known["probability"]) <= _ROUNDING
        return "" if near and answer["prediction"] == known["prediction"] else "a film: another answer than alone"


def check_body(status: int, body: bytes) -> str:
    """What is wrong with the body of a status, by the contract."""
    try:
        content = json.loads(body)
    except ValueError:
        return "no JSON"
    if not content.get("request_id"):
        return "no request id"
    if status == 200:
        return "" if 0 <= content.get("probability", -1) <= 1 else "no probability"
    error = content.get("error", {})
    return "" if error.get("code") in _CODES and error.get("message") else "an error without code or message"


def abuse(bundle: Path, count: int, seed: int, clients: int, patience: float) -> tuple[Abuse, dict[str, int], float]:
    """Do it to a server of the bundle. Returns the answers, what was wrong how often, and the longest time."""
    films = list(sound_films().values())
    known: list[dict[str, Any]] = []

    def keep(index: int, status: int, body: bytes) -> str:
        known.append(json.loads(body))
        return "" if status == 200 else f"film {index}: status {status}"

    with serve(pneumonia_serve(bundle)) as server:
        alone = run_load(server.port, [multipart(film) for film in films], 1, count=len(films), check=keep)
        run = Abuse(list(hostile_files(count, seed)), films, known)
        requests = run.requests()
        load = run_load(server.port, requests, clients, count=len(requests), check=run.check, patience=patience)
        load.failures.update(alone.failures)
        text = server.log.read_text(errors="replace")
    if "Traceback" in text:
        load.failures["a trace in the log"] += text.count("Traceback")
    for wrong, example in load.examples.items():
        print(f"{wrong}: {example}", file=sys.stderr)
    return run, dict(load.failures), max(load.latencies)


def table(answers: dict[str, Counter[int]]) -> str:
    """Kinds by statuses."""
    statuses = sorted({status for counts in answers.values() for status in counts})
    lines = ["| kind | " + " | ".join(map(str, statuses)) + " |", "| --- |" + " --- |" * len(statuses)]
    lines += [
        f"| {kind} | " + " | ".join(str(counts.get(status, "")) for status in statuses) + " |"
        for kind, counts in answers.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Do it, print a table, and fail on a violation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=REFERENCE)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--patience", type=float, default=30.0, help="seconds that an answer may take")
    options = parser.parse_args()
    run, failures, longest = abuse(options.bundle, options.files, options.seed, options.clients, options.patience)
    print(table(run.answers))
    print(
        f"\n{options.files} hostile files, {options.files} films in between; the longest answer took {longest:.2f} s."
    )
    if failures:
        sys.exit(f"Violations: {failures}")


if __name__ == "__main__":
    main()
