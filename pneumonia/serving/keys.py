"""API keys: made at random, shown once, kept as hashes, compared in constant time.

A key is 256 random bits, and nothing else is accepted as one. A plain SHA-256 is then as good as a slow, salted hash:
those protect what people choose, which can be guessed, and no table or guess reaches 2^256. It costs a request a
microsecond.
"""

import hashlib
import hmac
import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from pneumonia.errors import ConfigError
from pneumonia.files import atomic_write

FILE_VARIABLE = "PNEUMONIA_API_KEYS"
_PREFIX = "pneu_"  # by it, scanners for leaked secrets can know one
_KEY = re.compile(rb"pneu_[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LINE = re.compile(rf"({_NAME.pattern}):sha256:([0-9a-f]{{64}})")
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class ApiKeys:
    """Names of keys, and the SHA-256 digest of each."""

    digests: dict[str, bytes]

    def holder(self, key: bytes) -> str | None:
        """The name of a key that is presented, or None. How long it takes does not tell how much of it is right."""
        if not _KEY.fullmatch(key):
            return None
        presented, found = hashlib.sha256(key).digest(), None
        for name, digest in self.digests.items():  # all of them, always
            if hmac.compare_digest(digest, presented):
                found = name
        return found


def load_keys(path: Path | str) -> ApiKeys:
    """Read a file of keys. Raises `ConfigError` when it is missing, empty, malformed, or not its owner's alone."""
    keys = _read(Path(path))
    if not keys.digests:
        raise ConfigError(f"{path} holds no key: nobody could ask. `pneumonia keys new NAME --file {path}` adds one.")
    return keys


def new_key(path: Path | str, name: str) -> str:
    """Make a key, add its hash to the file (made if it is not there, with mode 0600), and return the key itself."""
    path, key = Path(path), _PREFIX + secrets.token_urlsafe(32)
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name for a key; use up to 64 letters, digits, dots, dashes, underscores.")
    with _locked(path):
        digests = _read(path).digests if path.exists() else {}
        if name in digests:
            raise ConfigError(f"{path} has a key {name!r} already; choose another name, or revoke it first.")
        _write(path, {**digests, name: hashlib.sha256(key.encode()).digest()})
    return key


def revoke_key(path: Path | str, name: str) -> None:
    """Remove a key's hash from the file. Raises `ConfigError` when there is none of that name."""
    path = Path(path)
    with _locked(path):
        digests = dict(_read(path).digests)
        if digests.pop(name, None) is None:
            raise ConfigError(f"{path} has no key {name!r}; `pneumonia keys list --file {path}` tells what it has.")
        _write(path, digests)


def key_names(path: Path | str) -> list[str]:
    """The names of the keys in a file."""
    return list(_read(Path(path)).digests)


def _read(path: Path) -> ApiKeys:
    try:
        with path.open(encoding="ascii") as file:
            mode = os.fstat(file.fileno()).st_mode
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not plain text"
        raise ConfigError(f"The file of API keys {path} can't be read: {reason}.") from error
    if mode & _WRITABLE_BY_OTHERS:
        raise ConfigError(f"{path} can be written by others, who could add a key of theirs: chmod go-w {path}")
    digests: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or match[1] in digests:
            raise ConfigError(f"Line {number} of {path} is no new `name:sha256:hash`; `pneumonia keys` writes such.")
        digests[match[1]] = bytes.fromhex(match[2])
    return ApiKeys(digests)


def _write(path: Path, digests: dict[str, bytes]) -> None:
    with atomic_write(path) as temporary:
        temporary.chmod(0o600)
        temporary.write_text("".join(f"{name}:sha256:{digest.hex()}\n" for name, digest in digests.items()), "ascii")


def _locked(path: Path) -> FileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.lock"))
