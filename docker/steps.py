"""A Dockerfile as stages of steps, with what it says of variables, mounts and ignored files: text in, values out."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import dockerfile

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::-([^}]*))?\})")


@dataclass(frozen=True)
class Step:
    """One instruction: its line in the file, its name, `flags` such as `--from=build`, and its words as written.

    `listed` says that the words were written as a JSON list, which no shell reads.
    """

    line: int
    name: str
    flags: tuple[str, ...]
    words: tuple[str, ...]
    listed: bool

    def flag(self, name: str) -> str | None:
        """The value of the first `--name=value`, or None."""
        return next(iter(self.flags_of(name)), None)

    def flags_of(self, name: str) -> list[str]:
        """The values of every `--name=value`."""
        return [flag.partition("=")[2] for flag in self.flags if flag.partition("=")[0] == f"--{name}"]


@dataclass(frozen=True)
class Stage:
    """What begins with a FROM: its name (its number, where it has none), what it is made from, and its steps."""

    name: str
    base: str
    steps: tuple[Step, ...]


def read_stages(path: Path, arguments: Mapping[str, str]) -> list[Stage]:
    """The stages of a Dockerfile, in order; `arguments` take the place of the defaults of the ARGs before the first.

    Raises `ValueError` for a file that is no Dockerfile.
    """
    try:
        commands = dockerfile.parse_file(str(path))
    except (dockerfile.GoParseError, dockerfile.GoIOError) as error:
        raise ValueError(f"{path} can't be read as a Dockerfile: {error}") from error
    steps = [Step(each.start_line, each.cmd.upper(), each.flags, each.value, each.json) for each in commands]
    starts = [index for index, step in enumerate(steps) if step.name == "FROM"]
    if not starts:
        raise ValueError(f"{path} has no FROM.")
    variables: dict[str, str] = {}
    for step in steps[: starts[0]]:
        variables.update(argument_of(step, arguments, variables))
    stages = []
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(steps)], strict=True)):
        base, *named = steps[start].words
        name = named[1] if len(named) == 2 else str(number)
        stages.append(Stage(name, expand(base, variables), tuple(steps[start + 1 : end])))
    return stages


def argument_of(step: Step, given: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """What an ARG sets: what is given, else its default, else nothing."""
    found = {}
    for word in step.words:
        name, has_default, default = word.partition("=")
        if name in given:
            found[name] = given[name]
        elif has_default:
            found[name] = expand(default, variables)
        elif name in variables:
            found[name] = variables[name]
    return found


def pairs_of(step: Step, variables: Mapping[str, str]) -> dict[str, str]:
    """What an ENV or LABEL sets."""
    words = [expand(word, variables) for word in step.words]
    return dict(zip(words[::2], words[1::2], strict=True))


def expand(word: str, variables: Mapping[str, str]) -> str:
    """A word without its quotes and with its `$NAME`, `${NAME}` and `${NAME:-default}` filled in."""

    def value(match: re.Match[str]) -> str:
        return variables.get(match[1] or match[2], "") or match[3] or ""

    plain = word[1:-1] if len(word) > 1 and word[0] == word[-1] == '"' else word
    return _VARIABLE.sub(value, plain)


def mounts_of(step: Step) -> list[dict[str, str]]:
    """The `--mount`s of a RUN, each by its keys: `type`, `target`, ..."""
    return [dict(part.partition("=")[::2] for part in flag.split(",")) for flag in step.flags_of("mount")]


def ignore_patterns(text: str) -> list[tuple[bool, re.Pattern[str]]]:
    """The lines of a .dockerignore: whether each takes files back in, and what it matches."""
    lines = (line.strip() for line in text.splitlines())
    found = []
    for line in lines:
        if line and not line.startswith("#"):
            kept = line.startswith("!")
            found.append((kept, _glob(line.removeprefix("!").strip("/"))))
    return found


def is_ignored(path: str, patterns: Sequence[tuple[bool, re.Pattern[str]]]) -> bool:
    """Whether a file, by its path in the context, is left out: the last line that matches it or a parent decides."""
    parents: Iterable[PurePosixPath] = [PurePosixPath(path), *PurePosixPath(path).parents][:-1]
    names = [str(parent) for parent in parents]
    ignored = False
    for kept, pattern in patterns:
        if any(pattern.fullmatch(name) for name in names):
            ignored = not kept
    return ignored


def _glob(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part) or re.escape(part) for part in parts))
