"""Reads a `.wandb` run file: the log format of LevelDB around W&B's own protobuf messages."""

import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HEADER = b":W&B"
_BLOCK = 32768
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def records(path: Path) -> list[Any]:
    """All records of a finished run, as `wandb_internal_pb2.Record`; each chunk's checksum is verified.

    W&B's writer may still hold the last block when `finish` returns: then this waits for the record that ends a run.
    """
    for _ in range(300):
        made = _records(path)
        if any(record.WhichOneof("record_type") == "exit" for record in made):
            return made
        time.sleep(0.1)
    raise AssertionError(f"{path} has no end")


def _records(path: Path) -> list[Any]:
    from wandb.proto import wandb_internal_pb2

    made = []
    for content in _payloads(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content)
        made.append(record)
    return made


def _payloads(content: bytes) -> Iterator[bytes]:
    assert content[:4] in (_HEADER, b""), "no run file"
    place, parts = 7, b""
    while place + 7 <= len(content):
        if _BLOCK - place % _BLOCK < 7:  # the rest of a block is padding
            place += _BLOCK - place % _BLOCK
            continue
        checksum, length, kind = struct.unpack("<IHB", content[place : place + 7])
        if kind == 0:
            return
        data = content[place + 7 : place + 7 + length]
        if len(data) < length:  # not all of it is written yet
            return
        assert zlib.crc32(bytes([kind]) + data) == checksum, f"damaged at byte {place}"
        parts = data if kind in (_FULL, _FIRST) else parts + data
        if kind in (_FULL, _LAST):
            yield parts
        place += 7 + length
