"""Checks a built site: `python -m docs.site.check FOLDER`.

Every page must work from a file, below any path, and without a network. So links to pages and assets must be relative,
their targets must exist, and nothing may be loaded from another host.
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_CSS_LOADS = re.compile(r"(?:url\(|@import)\s*[\"']?([^\"')\s]+)")


class _Page(HTMLParser):
    """The anchors of a page, and where its links and assets point to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors = {""}
        self.links: list[str] = []
        self.assets: list[str] = []
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors.add(values.get("id", ""))
        for name in ("href", "src", "data", "poster"):
            if name in values:
                (self.links if tag == "a" else self.assets).append(values[name])
        self.assets += [part.split()[0] for part in values.get("srcset", "").split(",") if part.split()]
        self.assets += _CSS_LOADS.findall(values.get("style", ""))
        if values.get("http-equiv", "").lower() == "refresh":
            self.links.append(values["content"].partition("url=")[2])


def problems(site: Path) -> Iterator[str]:
    """Yield what is wrong, with the name of the file."""
    pages = {file.resolve(): _Page(file) for file in site.rglob("*.html")}
    for file, page in pages.items():
        for target in page.links + page.assets:
            if urlsplit(target).scheme or target.startswith("//"):
                if target in page.assets and not target.startswith("data:"):
                    yield f"{file.name} loads {target} from another host"
                continue
            path, _, anchor = target.partition("#")
            linked = (file.parent / unquote(path.partition("?")[0])).resolve() if path else file
            anchors = pages[linked].anchors if linked in pages else {""}
            if path.startswith("/") or not linked.is_file() or anchor not in anchors:
                yield f"{file.name} links to {target}, which is not in the site"
    for file in site.rglob("*.css"):
        for target in _CSS_LOADS.findall(file.read_text()):
            if not target.startswith(("data:", "#")) and not (file.parent / urlsplit(target).path).is_file():
                yield f"{file.name} loads {target}, which is not in the site"


def main(folder: str) -> None:
    """Print the problems of the site, and exit with 1 if there are any."""
    found = sorted(set(problems(Path(folder))))
    print("\n".join(found) or f"{folder}: all links and assets exist, and none is loaded from another host")
    sys.exit(bool(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
