"""How long a visitor waits: for the page, for the answer to a full-size film, and as one of twenty at once.

`make bench-page` runs it with the reference bundle on films of the data's val folder, in Chromium, and writes
docs/page.json. Every time is taken in the browser's process, from the visitor's act to what he sees.
"""

import argparse
import asyncio
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import psutil
from playwright import async_api

from benchmarks.page_process import BROWSER_ARGUMENTS, api_and_page, browser_path, films
from benchmarks.server_process import PROJECT, processor_time
from pneumonia.bundle import REFERENCE, load_bundle
from pneumonia.files import write_json

_MILLISECONDS = 120_000


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/chest_xray"))
    parser.add_argument("--times", type=int, default=9, help="each is done, of which the median is told")
    parser.add_argument("--people", type=int, default=20, help="at once")
    parser.add_argument("--many", type=int, default=500, help="films in one go")
    parser.add_argument("--output", type=Path, default=PROJECT / "docs" / "page.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, api_and_page(REFERENCE, Path(folder) / "page.log") as url:
        figures = asyncio.run(_measure(url, options))
    report = {"bundle": load_bundle(REFERENCE).label, "machine": platform.machine(), **figures}
    print(json.dumps(report, indent=2))
    write_json(options.output, report)
    if report["people_failed"]:
        raise SystemExit(f"{report['people_failed']} of {options.people} people got no answer.")


async def _measure(url: str, options: argparse.Namespace) -> dict[str, Any]:
    async with async_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=browser_path(), args=BROWSER_ARGUMENTS)

        async def visit() -> tuple[async_api.Page, float]:
            context = await browser.new_context(viewport={"width": 1400, "height": 900})
            tab = await context.new_page()
            tab.set_default_timeout(_MILLISECONDS)
            began = time.perf_counter()
            await tab.goto(url)
            await tab.wait_for_selector(".state.ready")
            return tab, time.perf_counter() - began

        async def loading() -> float:
            tab, seconds = await visit()
            await tab.context.close()
            return seconds

        chosen = films(options.data, options.times + 1)
        tab, _ = await visit()
        await _answer(tab, chosen[0])  # what is loaded once is loaded
        answers = [await _answer(tab, film) for film in chosen[1:]]
        await tab.context.close()
        loads = [await loading() for _ in range(options.times)]
        before = _servers_cpu()
        people = await _people(visit, list(films(options.data, options.people)))
        cpu = _servers_cpu() - before
        many = await _many(visit, list(films(options.data, options.many)))
        await browser.close()
    return {
        "load_seconds": statistics.median(loads),
        "answer_seconds": statistics.median(answers),
        "answer_longest_seconds": max(answers),
        "people": options.people,
        "people_failed": sum(seconds is None for seconds in people),
        "people_seconds": statistics.median(seconds for seconds in people if seconds is not None),
        "people_servers_cpu_seconds": cpu / options.people,
        "many_films": options.many,
        "many_seconds": many,
    }


def _servers_cpu() -> float:
    """CPU seconds of page and API so far: of this process's offspring, the browser and its driver are no Python."""
    offspring = [each for each in psutil.Process().children(recursive=True) if each.name().startswith("python")]
    return sum(processor_time(each) for each in offspring)


async def _answer(tab: async_api.Page, film: Path, polling: "float | Literal['raf']" = "raf") -> float:
    """Seconds from the choice of a film to its answer and heatmap, looked for every frame or so many milliseconds."""
    # Two films may be answered in the same words: what is there now is marked, and what comes is not.
    await tab.evaluate("() => document.querySelectorAll('#read-answer .card').forEach((card) => card.id = 'old')")
    began = time.perf_counter()
    await tab.set_input_files("#read-upload input[type=file]", film)
    await tab.wait_for_function(
        "() => document.querySelector('#read-answer .card:not(#old) .scale, #read-answer .card:not(#old) .check')"
        " && document.querySelector('#read-viewer[data-ready]')",
        polling=polling,
    )
    return time.perf_counter() - began


async def _people(
    visit: Callable[[], Awaitable[tuple[async_api.Page, float]]], chosen: list[Path]
) -> list[float | None]:
    """Seconds that each of so many waits for an answer when all ask at once; None for one who got none."""
    tabs = [(await visit())[0] for _ in chosen]

    async def ask(tab: async_api.Page, film: Path) -> float | None:
        try:
            # Twenty tabs that are asked every frame would draw 60 a second each, on the cores that are measured.
            return await _answer(tab, film, polling=100)
        except async_api.Error:
            return None

    seconds = await asyncio.gather(*map(ask, tabs, chosen))
    for tab in tabs:
        await tab.context.close()
    return list(seconds)


async def _many(visit: Callable[[], Awaitable[tuple[async_api.Page, float]]], chosen: list[Path]) -> float:
    """Seconds from the choice of many films to the last row."""
    tab, _ = await visit()
    await tab.locator("#tab-many-button").click()
    began = time.perf_counter()
    await tab.set_input_files("#many-upload input[type=file]", chosen)
    await async_api.expect(tab.locator(".many-state")).to_contain_text("All", timeout=3 * _MILLISECONDS)
    seconds = time.perf_counter() - began
    await tab.context.close()
    return seconds


if __name__ == "__main__":
    main()
