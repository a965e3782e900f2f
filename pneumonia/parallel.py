"""Work on many films side by side, in threads: decoding, hashing and the engine leave the interpreter to others."""

from collections.abc import Callable, Sequence
from multiprocessing.pool import ThreadPool
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_films(
    work: Callable[[Item], Result],
    films: Sequence[Item],
    description: str | None = None,
    unit: str = "film",
    workers: int | None = None,
) -> list[Result]:
    """What `work` makes of each film, in their order; as many at once as there are `workers` (all cores without).

    A `description` shows a bar with it. An error of `work` or an interrupt ends the map: films that are at work are
    finished, the others are not begun.
    """
    from tqdm import tqdm

    # Tasks are handed out by a thread of the pool. `ThreadPoolExecutor.map` does so in the caller's, where an interrupt
    # can leave a lock held that the workers then wait for.
    pool = ThreadPool(workers)
    try:
        results = pool.imap(work, films)
        return list(tqdm(results, description, len(films), unit=unit, disable=description is None))
    finally:
        pool.terminate()
        pool.join()
