"""mkdocs' hooks: pages that live elsewhere in the checkout, and links to files that are not on the site."""

import posixpath
import re
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
# Page of the site -> file of the checkout.
ELSEWHERE = {
    "index.md": "README.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "MODEL_CARD.md": "pneumonia/reference/MODEL_CARD.md",
    "DATA_CARD.md": "pneumonia/reference/DATA_CARD.md",
}
_LINK = re.compile(r"(?<!\!)\[(?P<text>[^\]]+)\]\((?P<target>[^)\s]+)\)")


def on_config(config: Any) -> Any:
    """Pages that the navigation of mkdocs.yml does not name come at its end, so that none is out of reach."""
    named = set(re.findall(r"[\w-]+\.md", str(config["nav"])))
    rest = sorted(path.name for path in (PROJECT / "docs").glob("*.md") if path.name not in named)
    if rest:
        config["nav"] = [*config["nav"], {"More": rest}]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that live elsewhere."""
    from mkdocs.structure.files import File

    for page, source in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(PROJECT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turn links of the checkout into links of the site."""
    pages = {file.src_uri for file in files}
    return relink(markdown, page.file.src_uri, pages, config["extra"].get("source_url", ""))


def relink(markdown: str, page: str, pages: set[str], source_url: str) -> str:
    """Links of the checkout as links of the site.

    A page of the site is linked to; another file where `source_url` has it, or by its name in words when that is
    empty. A file that the checkout does not have is an error.
    """
    source = ELSEWHERE.get(page, posixpath.join("docs", page))
    sites = {path: name for name, path in ELSEWHERE.items()}

    def link(found: re.Match[str]) -> str:
        target, _, anchor = found["target"].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        name = sites.get(path) or path.removeprefix("docs/")
        if name in pages and (path in sites or path.startswith("docs/")):
            return f"[{found['text']}]({name}{'#' + anchor if anchor else ''})"
        if not (PROJECT / path).exists():
            raise ValueError(f"{source} links to {target}, which the checkout does not have.")
        return f"[{found['text']}]({source_url}/{path})" if source_url else f"{found['text']} (`{path}`)"

    parts = re.split(r"(^```.*?^```)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in parts)
