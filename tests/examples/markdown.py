"""The Python blocks of a page: those of one section are one program, in the order in which they stand."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.+)$")
LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Section:
    page: Path
    title: str
    program: str


def sections(page: Path) -> Iterator[Section]:
    """The sections of a page that have Python blocks."""
    title, lines, blocks, language = page.stem, [], [], None
    for line in [*page.read_text("utf-8").splitlines(), "# the end"]:
        if line.startswith("```"):
            if language == "python":
                blocks.append("\n".join(lines))
            language = None if language is not None else line.removeprefix("```").strip()
            lines = []
        elif language is not None:
            lines.append(line)
        elif heading := HEADING.match(line):
            if blocks:
                yield Section(page, title, "\n\n".join(blocks) + "\n")
            title, blocks = heading[1], []
    assert language is None, f"{page}: a fenced block has no end"


def local_links(page: Path) -> list[str]:
    """Where the page points to inside the repository."""
    text = FENCE.sub("", page.read_text("utf-8"))
    return [link for link in LINK.findall(text) if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings make."""
    text = FENCE.sub("", page.read_text("utf-8"))
    titles = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
