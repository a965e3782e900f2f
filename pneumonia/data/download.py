"""One file over HTTP to disk: resumed after an interruption, begun again when it changed, whole or not used."""

import hashlib
import json
import re
import time
from dataclasses import asdict, dataclass, replace
from email.message import Message
from http import HTTPStatus
from http.client import HTTPResponse
from pathlib import Path

from pneumonia.data.web import BY_HAND, InterruptedTransferError, open_address, shown, split_checksum
from pneumonia.errors import DataError
from pneumonia.files import sha256_of, write_json

_CHUNK = 2**18
# A transfer that brought this much is no failure of its own: a long download may be cut more often than `attempts`.
_PROGRESS = 2**20
_LONGEST_WAIT = 60.0
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


@dataclass(frozen=True)
class Patience:
    """How often a transfer is tried, the first pause in seconds (it doubles), and the timeout of a read in seconds."""

    attempts: int = 5
    backoff: float = 0.5
    timeout: float = 30.0


DEFAULT_PATIENCE = Patience()
DEFAULT_MAX_BYTES = 50 * 10**9


@dataclass(frozen=True)
class _State:
    """What is known of a partial file, kept beside it.

    `address` is a digest, because an address may carry a key; `validator` the ETag or date that tells whether the
    server still has the same bytes (empty: it can't be told); `total` the size of the whole file in bytes.
    """

    address: str
    validator: str = ""
    total: int | None = None


def download(
    url: str,
    part: Path,
    sha256: str | None = None,
    progress: bool = False,
    patience: Patience = DEFAULT_PATIENCE,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> None:
    """Bring the file at `url` (http or https, perhaps with `#sha256=<hex>`) to `part`, whole and verified.

    What an earlier call, of this process or another, left at `part` is gone on with (Range and If-Range of RFC 9110) if
    the server still has the same file, else begun again. Raises `DataError` when the server refuses or stays away
    (`part` then waits for the next call), and for a wrong checksum or too large a file (`part` is then removed).
    """
    address, expected = split_checksum(url, sha256)
    failures, furthest = 0, _size(part)
    while not _is_whole(part, address):
        try:
            _transfer(address, part, progress, patience.timeout, max_bytes)
        except InterruptedTransferError as error:
            grown = _size(part) >= furthest + _PROGRESS
            failures, furthest = 1 if grown else failures + 1, max(furthest, _size(part))
            if failures >= patience.attempts:
                raise DataError(
                    f"The download of {shown(address)} failed: {error}. Try again later: it goes on from the "
                    f"{_size(part):,} bytes that are there. Or {BY_HAND}."
                ) from error
            time.sleep(min(max(error.wait, patience.backoff * 2 ** (failures - 1)), _LONGEST_WAIT))
    if expected and (found := sha256_of(part)) != expected:
        discard(part)
        raise DataError(
            f"{shown(address)} has the SHA-256 {found}, not {expected}: it is another file or was damaged on the way, "
            "and is removed. Try again, or ask where the checksum came from."
        )


def discard(part: Path) -> None:
    """Remove a partial file and what is known of it."""
    part.unlink(missing_ok=True)
    _state_path(part).unlink(missing_ok=True)


def address_digest(address: str) -> str:
    """SHA-256 of an address, by which it is known again without being written down."""
    return hashlib.sha256(address.encode()).hexdigest()


def _transfer(address: str, part: Path, progress: bool, timeout: float, max_bytes: int) -> None:
    """One request, until the file is whole. Raises `InterruptedTransferError` when it is worth another."""
    state = _read_state(part, address)
    offset = _size(part) if state.validator else 0
    headers = {"Range": f"bytes={offset}-", "If-Range": state.validator} if offset else {}
    try:
        with open_address(address, headers, timeout) as response:
            if response.status == HTTPStatus.PARTIAL_CONTENT:
                state = _continued(response, state, offset)
            else:
                state, offset = _begun(response, part, address), 0
            _append(response, part, state, offset, progress, max_bytes)
    except InterruptedTransferError as error:
        if error.status in (HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
            discard(part)  # not the bytes that follow ours
        raise
    # An answer without a length that came to its end: what there is, is all.
    write_json(_state_path(part), asdict(replace(state, total=_size(part))))


def _begun(response: HTTPResponse, part: Path, address: str) -> _State:
    """Empty `part` and note what the server says of the file."""
    if response.headers.get_content_type() == "text/html":
        raise DataError(
            f"{shown(address)} is a web page, not an archive; find the archive's own address, or {BY_HAND}."
        )
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    state = _State(address_digest(address), _validator(response.headers), total)
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(b"")  # before the note: old bytes must never stand beside a new validator
    write_json(_state_path(part), asdict(state))
    return state


def _continued(response: HTTPResponse, state: _State, offset: int) -> _State:
    """Check that a partial answer is of the same file and begins where ours ends; not every server heeds If-Range."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    same = _validator(response.headers) in ("", state.validator)
    if not offset or not match or int(match[1]) != offset or state.total not in (None, int(match[2])) or not same:
        raise InterruptedTransferError("the file changed on the server", HTTPStatus.PARTIAL_CONTENT)
    return replace(state, total=int(match[2]))


def _append(response: HTTPResponse, part: Path, state: _State, offset: int, progress: bool, max_bytes: int) -> None:
    from tqdm import tqdm

    size, total = offset, state.total
    bar = tqdm(desc="download", total=total, initial=offset, unit="B", unit_scale=True, disable=not progress)
    with bar, part.open("ab") as file:
        # An answer without a length ends with the connection; one with a length must not be waited for any longer.
        while size != total and (chunk := response.read1(_CHUNK if total is None else min(_CHUNK, total - size))):
            size += len(chunk)
            if max(size, total or 0) > max_bytes:
                break
            file.write(chunk)
            bar.update(len(chunk))
    if max(size, total or 0) > max_bytes:
        discard(part)
        raise DataError(f"The file at the address has more than the {max_bytes:,} bytes that are accepted: {BY_HAND}.")
    if total is not None and size < total:
        raise InterruptedTransferError(f"it ended after {size:,} of {total:,} bytes")


def _validator(headers: Message) -> str:
    """The strong ETag, else the date of the last change: If-Range takes no weak one (RFC 9110, 13.1.5)."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _read_state(part: Path, address: str) -> _State:
    """What is known of `part`; nothing when there is none, or it is of another address."""
    fresh = _State(address_digest(address))
    try:
        state = _State(**json.loads(_state_path(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return fresh
    return state if part.is_file() and state.address == fresh.address else fresh


def _is_whole(part: Path, address: str) -> bool:
    return _read_state(part, address).total == _size(part)


def _state_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0
