"""Many films: the files that a visitor chose, each read when its turn comes, and what each comes to as a row."""

import base64
import io
import shutil
import tempfile
import threading
import uuid
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from PIL import Image

from pneumonia.data.archives import BAD_BYTES, ArchiveLimits, open_source
from pneumonia.demo import problems
from pneumonia.demo.problems import Problem
from pneumonia.errors import DataError, ImageError, ImageTooLargeError
from pneumonia.images import DEFAULT_LIMITS, read_radiograph
from pneumonia.inference.prediction import Prediction

# What one visitor may send at a time: enough for a study, and bounded in memory and minutes.
LIMITS = ArchiveLimits(max_files=2000, max_bytes=4 * 10**9)
THUMBNAIL_SIDE = 72
# What folders hold beside films; names of the operating systems' own, and DICOM's table of contents.
_PASSED_OVER = frozenset({"thumbs.db", "desktop.ini", "dicomdir"})

PredictMany = Callable[[Iterable[bytes]], Iterable[Prediction | Problem]]
Status = Literal["answered", "refused", "failed"]


@dataclass(frozen=True)
class Item:
    """One file that was chosen: its name for the visitor, and how to read its bytes."""

    name: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Row:
    """What one file came to.

    `answered`: the model decided or abstained; `refused`: the input check turned it away; `failed`: `problem` says why.
    """

    index: int
    name: str
    status: Status
    thumbnail: str = ""
    prediction: Prediction | None = None
    problem: Problem | None = None


@dataclass(eq=False)
class Batch:
    """Films that are read together, in one visitor's memory; `folder` holds their files until it is closed.

    `rows` are those that have been read, by index; `total` is how many there will be. Another thread can set `stop`.
    """

    folder: "tempfile.TemporaryDirectory[str]"
    names: tuple[str, ...]
    run: str = ""
    total: int = 0
    rows: dict[int, Row] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def paths(self) -> list[Path]:
        """Of its files."""
        return [Path(self.folder.name) / str(number) for number in range(len(self.names))]

    @property
    def failed(self) -> list[int]:
        """Which rows may come out well when they are tried again."""
        return [index for index, row in sorted(self.rows.items()) if row.problem is not None and row.problem.retry]

    def in_order(self) -> list[Row]:
        """Its rows."""
        return [row for _, row in sorted(self.rows.items())]

    def close(self) -> None:
        """Stop, and remove the files."""
        self.stop.set()
        self.folder.cleanup()


def take_uploads(paths: Sequence[str]) -> Batch:
    """Uploaded files, moved to a folder of their own, which is removed when the batch is closed or forgotten."""
    folder = tempfile.TemporaryDirectory(prefix="films-", ignore_cleanup_errors=True)
    batch = Batch(folder, tuple(Path(path).name for path in paths))
    for path, place in zip(paths, batch.paths, strict=True):
        shutil.move(path, place)
        with suppress(OSError):
            Path(path).parent.rmdir()
    return batch


def read_batch(batch: Batch, predict_many: PredictMany) -> Iterator[Row]:
    """Read those that have no row yet, and yield each row once it is among the batch's; `stop` ends it early.

    Raises `DataError` where an archive can't be taken, or there are too many files.
    """
    batch.run, batch.stop = uuid.uuid4().hex, threading.Event()
    with open_items(batch.paths, batch.names) as items:
        batch.total = len(items)
        left = [(index, item) for index, item in enumerate(items) if index not in batch.rows]
        for row in read_rows(left, predict_many):
            batch.rows[row.index] = row
            yield row
            if batch.stop.is_set():
                return


@contextmanager
def open_items(paths: Sequence[Path], names: Sequence[str]) -> Iterator[list[Item]]:
    """Yield the films of what was chosen, zip archives opened, in the order of their names; to be read inside.

    `names` are what the visitor knows the files by, one for each path. Hidden files, and what systems leave in folders,
    are passed over. Raises `DataError` for an archive that can't be taken, and for more files than `LIMITS`.
    """
    with ExitStack() as stack:
        items: list[Item] = []
        for path, name in zip(paths, names, strict=True):
            if zipfile.is_zipfile(path):
                prefix = f"{name}/" if len(paths) > 1 else ""
                files = stack.enter_context(open_source(path, LIMITS))
                items += [Item(prefix + file.name, partial(_read, file.open)) for file in files if _is_film(file.name)]
            elif _is_film(name):
                items.append(Item(name, partial(_read, partial(_open, path))))
        if len(items) > LIMITS.max_files:
            raise DataError(f"{len(items):,} files are more than the {LIMITS.max_files:,} that are read at a time.")
        yield sorted(items, key=lambda item: item.name.casefold())


def read_rows(items: Iterable[tuple[int, Item]], predict_many: PredictMany) -> Iterator[Row]:
    """The row of each item, given with its index, as answers come; files are read as needed, and then forgotten."""
    waiting: deque[tuple[int, Item, bytes | Problem]] = deque()

    def films() -> Iterator[bytes]:
        for index, item in items:
            data = _bytes_of(item)
            waiting.append((index, item, data))
            if not isinstance(data, Problem):
                yield data

    def unreadable() -> Iterator[Row]:
        while waiting and isinstance(problem := waiting[0][2], Problem):
            index, item, _ = waiting.popleft()
            yield make_row(index, item.name, None, problem)

    for answer in predict_many(films()):
        yield from unreadable()
        index, item, data = waiting.popleft()
        yield make_row(index, item.name, data if isinstance(data, bytes) else None, answer)
    yield from unreadable()


def make_row(index: int, name: str, data: bytes | None, answer: "Prediction | Problem") -> Row:
    """The row of a file, with a thumbnail of its bytes where they can be decoded."""
    picture = thumbnail(data) if data else ""
    if isinstance(answer, Problem):
        return Row(index, name, "failed", picture, problem=answer)
    return Row(index, name, "answered" if answer.input_check.passed else "refused", picture, prediction=answer)


def thumbnail(data: bytes) -> str:
    """A film as a small JPEG in a data URI; empty for what can't be decoded."""
    try:
        film = read_radiograph(data, size=THUMBNAIL_SIDE)
    except ImageError:
        return ""
    longest = max(film.width, film.height)
    width, height = (max(1, round(THUMBNAIL_SIDE * side / longest)) for side in (film.width, film.height))
    buffer = io.BytesIO()
    Image.fromarray(film.pixels).resize((width, height)).save(buffer, format="JPEG", quality=70)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _bytes_of(item: Item) -> bytes | Problem:
    try:
        return item.read()
    except ImageError as error:
        return problems.of_image(error)
    except (OSError, EOFError, RuntimeError, *BAD_BYTES):
        return problems.UNREADABLE


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


def _read(opened: Callable[[], IO[bytes]]) -> bytes:
    """A file's bytes, no further than an upload may be large."""
    with opened() as stream:
        data = stream.read(DEFAULT_LIMITS.max_bytes + 1)
    if len(data) > DEFAULT_LIMITS.max_bytes:
        raise ImageTooLargeError(f"The file has more than {DEFAULT_LIMITS.max_bytes:,} bytes.")
    return data


def _is_film(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return bool(parts) and not hidden and parts[-1].casefold() not in _PASSED_OVER
