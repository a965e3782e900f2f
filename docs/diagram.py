"""Draw docs/architecture.svg from docs/architecture.toml: `python docs/diagram.py`.

Boxes stand on a grid, arrows join boxes of one row or one column. The picture holds its own title and description for
those who do not see it, and follows the reader's preference for light or dark.
"""

import tomllib
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
WIDTH, HEIGHT = 156, 54  # of a box, in px
STEP_X, STEP_Y = 190, 96  # from a box to the next
LEFT, TOP = 48, 30
STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1b2a2f; text-anchor: middle }
.where, .band, .label { font-size: 11px; fill: #4c6168 }
.band { text-transform: uppercase; letter-spacing: .08em }
.box { fill: #fff; stroke: #00796b; stroke-width: 1.5 }
.room { fill: #e0f2f1 }
.arrow { fill: none; stroke: #37474f; stroke-width: 1.5; marker-end: url(#head) }
#head path { fill: #37474f }
@media (prefers-color-scheme: dark) {
  text { fill: #eceff1 } .where, .band, .label { fill: #b0bec5 } .box { fill: #1e2a2e; stroke: #4db6ac }
  .room { fill: #26343a } .arrow { stroke: #cfd8dc } #head path { fill: #cfd8dc }
}"""


def corner(at: list[int]) -> tuple[int, int]:
    """The upper left corner of the box in a column and row, in px."""
    return LEFT + at[0] * STEP_X, TOP + at[1] * STEP_Y


def arrow(start: list[int], end: list[int]) -> str:
    """A path from the edge of one box to the edge of another. Raises `ValueError` when they share no row or column."""
    (x1, y1), (x2, y2) = corner(start), corner(end)
    if start[1] == end[1] and start[0] != end[0]:
        first, last = (x1 + WIDTH, x2) if x1 < x2 else (x1, x2 + WIDTH)
        return f"M{first} {y1 + HEIGHT // 2}H{last}"
    if start[0] == end[0] and start[1] != end[1]:
        first, last = (y1 + HEIGHT, y2) if y1 < y2 else (y1, y2 + HEIGHT)
        return f"M{x1 + WIDTH // 2} {first}V{last}"
    raise ValueError(f"No straight arrow from {start} to {end}: put them into one row or column.")


def draw(source: dict[str, Any]) -> str:
    """The SVG of a source such as architecture.toml. Raises `KeyError` for an arrow from or to no box."""
    boxes: dict[str, Any] = source["boxes"]
    columns = 1 + max(box["at"][0] for box in boxes.values())
    rows = 1 + max(box["at"][1] for box in boxes.values())
    width, height = 2 * LEFT + columns * STEP_X - (STEP_X - WIDTH), 2 * TOP + rows * STEP_Y - (STEP_Y - HEIGHT)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'aria-labelledby="title description">',
        f'<title id="title">{escape(source["title"])}</title>',
        f'<desc id="description">{escape(source["description"].strip())}</desc>',
        f"<style>{STYLE}\n</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z"/></marker></defs>',
    ]
    for band in source["bands"]:
        (_, top), (_, bottom) = corner([0, band["rows"][0]]), corner([0, band["rows"][1]])
        size = f'width="{width - 16}" height="{bottom - top + HEIGHT + 32}"'
        parts.append(f'<rect class="room" x="8" y="{top - 16}" {size} rx="8"/>')
        middle = (top + bottom + HEIGHT) // 2
        parts.append(f'<text class="band" transform="translate(28 {middle}) rotate(-90)">{escape(band["name"])}</text>')
    for group in source["arrows"]:
        for start, end in pairwise(group["path"]):
            path = arrow(boxes[start]["at"], boxes[end]["at"])
            parts.append(f'<path class="arrow" d="{path}"/>')
        if "label" in group:
            (x1, y1), (x2, y2) = (corner(boxes[name]["at"]) for name in (group["path"][0], group["path"][-1]))
            parts.append(
                f'<text class="label" style="text-anchor: start" x="{(x1 + x2 + WIDTH) // 2 + 8}" '
                f'y="{(y1 + y2 + HEIGHT) // 2 + 4}">{escape(group["label"])}</text>'
            )
    for box in boxes.values():
        x, y = corner(box["at"])
        parts += [
            f'<rect class="box" x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
            f'<text x="{x + WIDTH // 2}" y="{y + 23}">{escape(box["title"])}</text>',
            f'<text class="where" x="{x + WIDTH // 2}" y="{y + 41}">{escape(box["where"])}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Write the picture beside its source."""
    source = tomllib.loads((FOLDER / "architecture.toml").read_text(encoding="utf-8"))
    (FOLDER / "architecture.svg").write_text(draw(source), encoding="utf-8")


if __name__ == "__main__":
    main()
