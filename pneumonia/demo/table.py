"""Rows of many films as the page's table takes them: the table's frame as HTML, and rows as JSON for `table.js`."""

import html
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from pneumonia.demo.answer import percent, words_of
from pneumonia.demo.batch import Row
from pneumonia.demo.checks import reason_text
from pneumonia.demo.strings import Strings

_COLUMNS = ("film", "file", "answer", "probability")
_SORTED = frozenset({"file", "answer", "probability"})


def table_frame(say: Strings) -> str:
    """The table without rows, the line above it that says how far it is, and the words that `table.js` needs."""
    words = {key: say.texts[f"many.{key}"] for key in ("progress", "done", "stopped", "starting")}
    return (
        f'<section class="many" data-words="{html.escape(json.dumps(words))}">'
        f'<p class="many-state" role="status">{say.html("many.none")}</p>'
        f'<progress class="many-bar" aria-label="{say.html("many.bar")}" value="0" max="1" hidden></progress>'
        '<div class="many-scroll" tabindex="0" role="region" '
        f'aria-label="{say.html("many.caption")}"><table hidden><caption>{say.html("many.caption")}</caption>'
        f"<thead><tr>{''.join(_head(say, name) for name in _COLUMNS)}</tr></thead><tbody></tbody></table></div>"
        "</section>"
    )


def table_news(rows: Sequence[Row], say: Strings, run: str, done: int, total: int, state: str) -> str:
    """What changed, for `table.js`: some rows, `done` of `total` files, and the state of the run of this name.

    `state` is `running`, `done` or `stopped`. Rows may come twice: they are known by their index.
    """
    news = {"run": run, "done": done, "total": total, "state": state, "rows": [_cells(row, say) for row in rows]}
    return f'<div data-news="{html.escape(json.dumps(news, ensure_ascii=False))}"></div>'


def file_to_save(name: str, kind: str, content: str) -> str:
    """A file that `table.js` hands to the browser to keep: it is written to no disk here."""
    # The same file can be asked for twice: each time it is another answer.
    said = json.dumps({"id": uuid.uuid4().hex, "name": name, "kind": kind, "content": content}, ensure_ascii=False)
    return f'<div data-file="{html.escape(said)}"></div>'


def verdict_of(row: Row, say: Strings) -> str:
    """What became of a file, in a few words."""
    if row.problem is not None:
        return row.problem.what(say)
    answer = row.prediction
    if answer is None or not answer.input_check.passed:
        return say("many.no_answer")
    called = words_of(say, answer.prediction)
    return say("many.unsure", called=called) if answer.abstained else called


def more_of(row: Row, say: Strings) -> str:
    """What else is to be said: why there is no answer, what to do, or what the film may be as well."""
    if row.problem is not None:
        return " ".join(filter(None, [row.problem.detail, row.problem.advice(say).replace("`", "")]))
    if row.prediction is None:
        return ""
    if not row.prediction.input_check.passed:
        return " ".join(reason_text(say, reason) for reason in row.prediction.input_check.reasons)
    if row.prediction.abstained:
        names = [words_of(say, name, in_text=True) for name in row.prediction.prediction_set]
        return say("many.possible", names=", ".join(names)) if names else say("many.nothing_fits")
    return ""


def _cells(row: Row, say: Strings) -> Mapping[str, Any]:
    answer = row.prediction if row.status == "answered" else None
    return {
        "index": row.index,
        "name": row.name,
        "picture": row.thumbnail,
        "status": "unsure" if answer and answer.abstained else row.status,
        "verdict": verdict_of(row, say),
        "more": more_of(row, say),
        "probability": answer.probability if answer else None,
        "shown": percent(say, answer.probability) if answer else "",
        "threshold": answer.threshold if answer else None,
    }


def _head(say: Strings, name: str) -> str:
    words = say.html(f"many.head_{name}")
    if name not in _SORTED:
        return f'<th scope="col">{words}</th>'
    return f'<th scope="col" data-by="{name}" aria-sort="none"><button type="button">{words}</button></th>'
