"""What an image starts from here: a Debian by debootstrap, cut down as Docker's slim images are, and pip's settings."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

_SUITES = {"12": "bookworm", "13": "trixie"}
_DEBIAN = re.compile(r"debian:(\d+)(?:\.\d+)?-slim")
# What the slim images leave out, also of packages that are installed later.
_LEFT_OUT = ("usr/share/doc", "usr/share/info", "usr/share/man", "usr/share/locale", "usr/share/lintian")
_EMPTIED = ("var/cache/apt", "var/lib/apt/lists", "var/log")
# The Dockerfiles set these themselves.
_NOT_PIPS = frozenset({"constraint", "build-constraint"})


def debian(base: str, folder: Path) -> Path:
    """A tree like that of the image `debian:NN.N-slim`, made in `folder` unless it is there.

    It is the suite's newest point release, whatever the tag says. Raises `ValueError` for another image: it can't be
    made here.
    """
    match = _DEBIAN.fullmatch(base)
    if match is None or match[1] not in _SUITES:
        raise ValueError(f"{base} can't be made by debootstrap, only debian:NN.N-slim of {', '.join(_SUITES)}.")
    suite = _SUITES[match[1]]
    root = folder / suite
    if root.exists():
        return root
    unfinished = folder / f"{suite}.part"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    run(["debootstrap", "--variant=minbase", suite, str(unfinished)])
    for name in _LEFT_OUT:
        shutil.rmtree(unfinished / name, ignore_errors=True)
    for name in _EMPTIED:
        for path in (unfinished / name).iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    excludes = "".join(f"path-exclude /{name}/*\n" for name in _LEFT_OUT)
    (unfinished / "etc/dpkg/dpkg.cfg.d/slim").write_text(excludes, encoding="ascii")
    # As in Docker's images: dpkg does not wait for the disk, what apt downloads is not kept, and no service is started.
    (unfinished / "etc/dpkg/dpkg.cfg.d/docker-apt-speedup").write_text("force-unsafe-io\n", encoding="ascii")
    clean = 'APT::Keep-Downloaded-Packages "false";\nDir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n'
    (unfinished / "etc/apt/apt.conf.d/docker-clean").write_text(clean, encoding="ascii")
    policy = unfinished / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    policy.chmod(0o755)
    unfinished.rename(root)
    return root


def pip_settings() -> tuple[str, list[Path]]:
    """This machine's configuration of pip as one file's text, and the files and folders that it names."""
    lines = run([sys.executable, "-m", "pip", "config", "list"]).splitlines()
    settings: dict[str, str] = {}
    for line in sorted(lines, key=lambda line: line.startswith(":env:")):  # the environment wins
        name, _, value = line.partition("=")
        settings[name.rpartition(".")[2]] = ast.literal_eval(value)
    settings = {name: value for name, value in settings.items() if name not in _NOT_PIPS}
    text = "[global]\n" + "".join(f"{name} = {' '.join(value.split())}\n" for name, value in settings.items())
    words = [word for value in settings.values() for word in value.split()]
    # An index in a folder, `.../simple`, points to files in a folder beside it.
    indexes = [Path(word.removeprefix("file://")).parent for word in words if word.startswith("file://")]
    named = [Path(word) for word in words if word.startswith("/")]
    return text, [path for path in (*indexes, *named) if path.exists()]


def run(command: list[str], **environment: str) -> str:
    """What a command prints, with more variables. Raises `RuntimeError` with the end of that when it fails."""
    variables = {**os.environ, **environment}
    done = subprocess.run(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:6])} ... ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout
