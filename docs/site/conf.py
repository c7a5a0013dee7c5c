"""Sphinx builds the site from the same Markdown files that GitHub shows: `make docs`."""

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from app import __version__  # noqa: E402  only now it can be found

project = "rt-sentiment"
author = "the rt-sentiment developers"
release = version = __version__
html_title = f"{project} {release}"

# The source directory is the root of the repository, so that links between all files work as on GitHub.
root_doc = "docs/index"
include_patterns = [
    "*.md",
    *(f"{folder}/**.md" for folder in ("clients", "deploy", "docs", "models/sentiment-en", "perf")),
]
exclude_patterns = [".*", "README.md"]  # the page of contents takes the place of the latter

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 6
suppress_warnings = ["misc.highlighting_failure"]  # Pygments does not know that names in PromQL may contain colons
linkcheck_ignore = [r"http://127\.0\.0\.1"]

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
# index.html, where people and web servers look first, leads to the page of contents.
templates_path = ["templates"]
html_additional_pages = {"index": "redirect.html"}
html_copy_source = html_show_sourcelink = False
html_use_index = False
html_show_copyright = False
html_permalinks_icon = "#"


def add_toctrees(_app: Sphinx, page: str, source: list[str]) -> None:
    """Make the navigation from the page of contents: its headings, and the links that begin an entry of a list."""
    if page != root_doc:
        return
    for section in source[0].split("\n## ")[1:]:
        heading, _, text = section.partition("\n")
        linked = re.findall(r"^- \[(.+?)\]\((.+?)\.md\)", text, flags=re.MULTILINE)
        pages = [f"{title} <{posixpath.normpath(f'/docs/{path}')}>" for title, path in linked]
        if pages:
            lines = ["```{toctree}", ":hidden:", f":caption: {heading}", "", *pages, "```"]
            source[0] += "\n" + "\n".join(lines) + "\n"


class LinksToFolders(SphinxTransform):
    """Show a link to a folder of the repository, which is not in the site, as text."""

    default_priority = 500

    def apply(self, **_: Any) -> None:
        page = Path(self.env.doc2path(self.env.docname))
        for link in list(self.document.findall(pending_xref)):
            if (page.parent / link.get("reftarget", "")).is_dir():
                link.replace_self(link.children)


class Outlines(SphinxTransform):
    """Say below a block that follows `<!-- outline: why -->` that no test runs it, and why."""

    default_priority = 500

    def apply(self, **_: Any) -> None:
        for comment in list(self.document.findall(nodes.raw)):
            if outline := re.fullmatch(r"<!-- outline: (.+) -->", comment.astext().strip()):
                note = nodes.paragraph("", f"No test runs this block, because {outline[1]}.", classes=["outline"])
                comment.parent.insert(comment.parent.index(comment) + 2, note)
                comment.parent.remove(comment)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", add_toctrees)
    app.add_transform(LinksToFolders)
    app.add_transform(Outlines)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
