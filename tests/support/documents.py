"""The documents of the repository and their code blocks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.process import ROOT

_FOLDERS = ("clients", "deploy", "docs", "models/sentiment-en", "perf")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(file for folder in _FOLDERS for file in (ROOT / folder).rglob("*.md"))])
_BLOCK = re.compile(r"^( *)```(\w*)([^\n]*)\n(.*?)^\1```$", flags=re.MULTILINE | re.DOTALL)
_OUTLINE = re.compile(r"<!-- outline: (\S.*\S) -->\n+ *$")


@dataclass(frozen=True)
class Block:
    """A fenced code block. It is an outline, which no test runs, if the comment above it says why."""

    place: str
    language: str
    text: str
    outline: str | None


def blocks(file: Path) -> Iterator[Block]:
    document = file.read_text()
    for match in _BLOCK.finditer(document):
        indent, language, rest, text = match.groups()
        place = f"{file.relative_to(ROOT)}:{document.count(chr(10), 0, match.start()) + 1}"
        assert not rest, f"{place}: {rest} after the language"
        outline = _OUTLINE.search(document, 0, match.start())
        yield Block(place, language, re.sub(f"^{indent}", "", text, flags=re.MULTILINE), outline and outline[1])


ALL_BLOCKS = [block for file in DOCUMENTS for block in blocks(file)]
