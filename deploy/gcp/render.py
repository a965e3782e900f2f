"""Fill in templates of JSON: `render.py FOLDER_OF_TEMPLATES FOLDER NAME=value... -- FILE...`.

Each ${NAME} is replaced. A value stands inside a string of JSON, or is a number: what would end the string is escaped.
`+key=value` adds a key at the top of an object. Prints a line for each file: the path of what was made, a tab, and its
`displayName`, if it has one.
"""

import json
import string
import sys
from pathlib import Path
from typing import Any


def render(template: str, values: dict[str, str]) -> dict[str, Any]:
    """The template filled in. Raises `KeyError` for a name without a value, and `ValueError` for what is no JSON."""
    added = {name[1:]: value for name, value in values.items() if name.startswith("+")}
    escaped = {name: json.dumps(value)[1:-1] for name, value in values.items()}
    filled: dict[str, Any] = json.loads(string.Template(template).substitute(escaped))
    return filled | added


def main(templates: Path, folder: Path, words: list[str]) -> None:
    """Write the files, and print what they are."""
    pairs, names = words[: words.index("--")], words[words.index("--") + 1 :]
    values = dict(pair.split("=", 1) for pair in pairs)
    for name in names:
        made = folder / name
        try:
            content = render((templates / name).read_text(encoding="utf-8"), values)
        except (KeyError, ValueError) as error:
            sys.exit(f"{templates / name} can't be filled in: {error}")
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        print(made, content.get("displayName", ""), sep="\t")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
