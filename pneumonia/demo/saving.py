"""What became of many films as files to keep: a table as CSV, and a report as one HTML page that prints."""

import csv
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

from pneumonia.demo.batch import Row
from pneumonia.demo.strings import Strings
from pneumonia.demo.table import more_of, verdict_of

COLUMNS = (
    *("file", "status", "prediction", "probability", "threshold", "abstained", "prediction_set"),
    *("input_check", "error", "model", "note"),
)
# What a spreadsheet would take for a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

_STYLE = (
    "body{font:10pt/1.45 system-ui,sans-serif;color:#1b2430;max-width:1000px;margin:24px auto;padding:0 16px}"
    "h1{font-size:1.5em}table{border-collapse:collapse;width:100%}thead{display:table-header-group}"
    "th,td{text-align:left;padding:4px 10px 4px 0;border-bottom:1px solid #d5dbe3;vertical-align:middle;"
    "overflow-wrap:anywhere}tr{break-inside:avoid}img{display:block;max-width:72px;background:#000}"
    ".note{border-left:5px solid #e0a800;padding:6px 12px;background:#fff3c4;color:#4d3800}"
    ".number{font-variant-numeric:tabular-nums;white-space:nowrap}@page{margin:15mm}"
)


def as_csv(rows: Sequence[Row], note: str) -> str:
    """One line a file, RFC 4180, with `COLUMNS` as its head; numbers with a decimal point in every language."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _harmless(value) for name, value in _cells(row, note).items()})
    return out.getvalue()


def as_report(rows: Sequence[Row], say: Strings, made: str) -> str:
    """A page that needs nothing else, for a browser's print dialog: `made` says when. Refuses no row."""
    counts = "".join(
        f"<li>{say.html(f'many.{status}', count=sum(row.status == status for row in rows))}</li>"
        for status in ("answered", "refused", "failed")
    )
    models = sorted({row.prediction.model for row in rows if row.prediction})
    heads = "".join(f'<th scope="col">{say.html(f"many.head_{name}")}</th>' for name in ("film", "file", "answer"))
    return (
        f'<!doctype html><html lang="{say.language}"><meta charset="utf-8"><title>{say.html("many.report")}</title>'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<style>{_STYLE}</style><h1>{say.html('many.report')}</h1>"
        f'<p class="note">{say.html("disclaimer")}</p>'
        f"<p>{say.html('many.made', when=made, models=', '.join(models) or '-')}</p><ul>{counts}</ul>"
        f"<table><thead><tr>{heads}"
        f'<th scope="col">{say.html("many.head_probability")}</th></tr></thead>'
        f"<tbody>{''.join(_report_row(row, say) for row in rows)}</tbody></table></html>"
    )


def _report_row(row: Row, say: Strings) -> str:
    picture = f'<img src="{row.thumbnail}" alt="">' if row.thumbnail else ""
    number = ""
    if row.prediction and row.status == "answered":
        shown = say.figure(f"{row.prediction.probability:.1%}")
        limit = say.figure(f"{row.prediction.threshold:.1%}")
        number = f"{shown} <small>({say.html('many.from', limit=limit)})</small>"
    more = more_of(row, say)
    said = html.escape(verdict_of(row, say)) + (f"<br><small>{html.escape(more)}</small>" if more else "")
    return f'<tr><td>{picture}</td><td>{html.escape(row.name)}</td><td>{said}</td><td class="number">{number}</td></tr>'


def _cells(row: Row, note: str) -> Mapping[str, Any]:
    cells: dict[str, Any] = dict.fromkeys(COLUMNS, "")
    cells |= {"file": row.name, "status": row.status, "note": note}
    if row.problem is not None:
        cells["error"] = row.problem.detail or row.problem.key
    if (answer := row.prediction) is not None:
        cells |= {
            "prediction": answer.prediction,
            "probability": f"{answer.probability:.6f}",
            "threshold": f"{answer.threshold:.6f}",
            "abstained": str(answer.abstained).lower(),
            "prediction_set": " ".join(answer.prediction_set),
            "input_check": " ".join(answer.input_check.reasons),
            "model": answer.model,
        }
    return cells


def _harmless(value: object) -> str:
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
