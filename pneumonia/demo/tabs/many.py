"""Read many films: a folder, or a zip archive, as a table that fills while the model reads, to be kept as a file."""

import datetime
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from pneumonia.demo.answer import problem_note
from pneumonia.demo.batch import Batch, read_batch, take_uploads
from pneumonia.demo.problems import Problem
from pneumonia.demo.saving import as_csv, as_report
from pneumonia.demo.site import QUIET, Frame, Site, place_html
from pneumonia.demo.table import file_to_save, table_frame, table_news
from pneumonia.errors import DataError

# Visitors whose films are read at a time; others wait. Each has some films under way (`ApiClient.predict_many`).
_BATCHES_AT_A_TIME = 4
_SECONDS_TO_KEEP = 1800
_SECONDS_BETWEEN_NEWS = 0.3
# A browser that is busy may show only the last of some changes: each brings the rows of those before it, too.
_REPEATED = 4

Updates = list[Any]


def build(site: Site, frame: Frame, tab: gr.Tab) -> None:
    """Place the tab's parts."""
    del frame, tab
    say = site.say
    place_html(f'<p class="quiet">{say.html("many.intro")} {say.html("disclaimer")}</p>', "many-intro")
    with gr.Row(equal_height=False, elem_id="many-intake"):
        with gr.Column(scale=3, min_width=280):
            files = gr.File(
                label=say("many.files"), file_count="multiple", height=110, elem_id="many-upload", elem_classes="upload"
            )
        with gr.Column(scale=1, min_width=200):
            folder = gr.UploadButton(say("many.folder"), file_count="directory", elem_id="many-folder")
            stop = gr.Button(say("many.stop"), visible=False, elem_id="many-stop")
            again = gr.Button(say("many.again"), visible=False, elem_id="many-again")
            table = gr.Button(say("many.save_csv"), visible=False, elem_id="many-csv")
            report = gr.Button(say("many.save_report"), visible=False, elem_id="many-report")
    note = place_html("", "many-note")
    place_html(table_frame(say), "many-table")
    news, kept = place_html("", "many-news"), place_html("", "many-file")
    batch = gr.State(None, time_to_live=_SECONDS_TO_KEEP, delete_callback=_forget)

    reader = _Reader(site)
    shown = [batch, news, note, stop, again, table, report]
    limits: dict[str, Any] = {"concurrency_limit": _BATCHES_AT_A_TIME, "concurrency_id": "many", **QUIET}
    for source in (files, folder):
        source.upload(reader.take, [source, batch], [source, *shown], **limits)
    again.click(reader.read_again, batch, shown, **limits)
    # Not behind those that read: it is one of them that it stops.
    stop.click(_stop, batch, None, concurrency_limit=None, **QUIET)
    table.click(lambda held: _as_table(site, held), batch, kept, **QUIET)
    report.click(lambda held: _as_report(site, held), batch, kept, **QUIET)


class _Reader:
    """Reads batches through the page's own model; each change names what `shown` lists, in that order."""

    def __init__(self, site: Site) -> None:
        self._site, self._say = site, site.say

    def take(self, paths: list[str] | None, before: Batch | None) -> Iterator[Updates]:
        """Read what was chosen, in place of what was there before. The field it was chosen in comes first."""
        if not paths:
            yield [gr.skip()] * 8
            return
        _forget(before)
        for updates in self._read(take_uploads(paths)):
            yield [None, *updates]

    def read_again(self, batch: Batch | None) -> Iterator[Updates]:
        """Read once more what failed and may not fail again."""
        if batch is None:
            yield [gr.skip()] * 7
            return
        for index in batch.failed:
            del batch.rows[index]
        yield from self._read(batch)

    def _read(self, batch: Batch) -> Iterator[Updates]:
        model = self._site.client.model_info()
        if isinstance(model, Problem):
            yield self._failed(batch, model)
            return
        starts, told = [0], 0.0
        rows = list(batch.rows.values())
        try:
            for row in read_batch(batch, self._site.client.predict_many):
                rows.append(row)
                if time.monotonic() - told < _SECONDS_BETWEEN_NEWS:
                    continue
                first = starts[max(0, len(starts) - _REPEATED)]
                yield self._told(batch, rows[first:], running=True)
                starts.append(len(rows))
                told = time.monotonic()
        except DataError as error:
            yield self._failed(batch, Problem("archive", detail=str(error), retry=False))
            return
        yield self._told(batch, batch.in_order(), running=False)

    def _told(self, batch: Batch, rows: list[Any], running: bool) -> Updates:
        done = len(batch.rows)
        state = "running" if running else "done" if done == batch.total else "stopped"
        buttons = [running, not running and bool(batch.failed), not running and done > 0, not running and done > 0]
        said = table_news(rows, self._say, batch.run, done, batch.total, state)
        return [batch, said, "", *(gr.update(visible=visible) for visible in buttons)]

    def _failed(self, batch: Batch, problem: Problem) -> Updates:
        """Why nothing was read; the files are kept for another try where that can help."""
        card = problem_note(self._say, problem)
        buttons = [False, problem.retry, False, False]
        return [batch, "", card, *(gr.update(visible=visible) for visible in buttons)]


def _as_table(site: Site, batch: Batch | None) -> str:
    rows = batch.in_order() if batch else []
    return file_to_save("films.csv", "text/csv", as_csv(rows, site.say("disclaimer")))


def _as_report(site: Site, batch: Batch | None) -> str:
    rows = batch.in_order() if batch else []
    made = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return file_to_save("films.html", "text/html", as_report(rows, site.say, made))


def _stop(batch: Batch | None) -> None:
    if batch is not None:
        batch.stop.set()


def _forget(batch: Batch | None) -> None:
    if batch is not None:
        batch.close()
