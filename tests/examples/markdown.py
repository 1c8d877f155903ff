"""The Python blocks of a page, as programs: those of one section belong together, in the order in which they stand.

A block inside a tab (``=== "sync"``) belongs to the program of that tab, one outside of the tabs to each of them. A
block in another library's code bears its name as its title and is not run; a title that is not in ``OTHER_LIBRARIES``
is a mistake, and so is a language that is not in ``LANGUAGES``: nothing is passed over by accident. A ``text`` block
with the title ``Output`` is what every program of its section prints.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
OPENING = re.compile(r'^(?P<margin> *)```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?$')
TAB = re.compile(r'^=== "(?P<label>[^"]+)"$')
HEADING = re.compile(r"^#+ +(.+)$")
LINK = re.compile(r"\]\(([^)\s]+)\)")

LANGUAGES = {"", "acl", "bash", "console", "ini", "javascript", "json", "lua", "python", "text", "toml", "yaml"}
OTHER_LIBRARIES = {"Celery", "RQ", "arq", "ChasquiMQ 1.3, Python"}
OUTPUT = "Output"
ON_ASYNCIO, ON_TRIO = "anyio.run(main)", 'anyio.run(main, backend="trio")'


@dataclass(frozen=True)
class Program:
    page: Path
    section: str
    variant: str
    """The tab, and the event loop where there is one."""
    text: str
    output: str | None
    """What it must print; None: that is not told."""


@dataclass
class _Section:
    title: str
    blocks: list[tuple[str | None, str]] = field(default_factory=list)
    """Tab and code."""
    output: str | None = None

    def programs(self, page: Path) -> Iterator[Program]:
        tabs = list(dict.fromkeys(tab for tab, _ in self.blocks if tab is not None))
        for shown in tabs or ([None] if self.blocks else []):
            text = "\n\n".join(code for tab, code in self.blocks if tab in (None, shown)) + "\n"
            yield Program(page, self.title, shown or "", text, self.output)
            if ON_ASYNCIO in text:
                yield Program(page, self.title, "trio", text.replace(ON_ASYNCIO, ON_TRIO), self.output)


def programs(page: Path) -> Iterator[Program]:
    """The programs on a page."""
    section, tab = _Section(page.stem), None
    lines = iter(page.read_text("utf-8").splitlines())
    for line in lines:
        if opening := OPENING.match(line):
            tab = tab if opening["margin"] else None
            _add_block(section, tab, opening, _block(lines, opening["margin"], page), page)
        elif line.lstrip().startswith("```"):
            raise AssertionError(f"{page}: {line!r} opens a block in no known way")
        elif found := TAB.match(line):
            tab = found["label"]
        elif line and not line.startswith("    "):
            tab = None
            if heading := HEADING.match(line):
                yield from section.programs(page)
                section = _Section(heading[1])
    yield from section.programs(page)


def _block(lines: Iterator[str], margin: str, page: Path) -> str:
    block = []
    for line in lines:
        if line == f"{margin}```":
            return "\n".join(block)
        block.append(line.removeprefix(margin))
    raise AssertionError(f"{page}: a fenced block has no end")


def _add_block(section: _Section, tab: str | None, opening: re.Match[str], code: str, page: Path) -> None:
    language, title = opening["language"], opening["title"]
    assert language in LANGUAGES, f"{page}: blocks in {language!r} are not known; is it misspelt?"
    if language == "python" and title is None:
        section.blocks.append((tab, code))
    elif language == "text" and title == OUTPUT:
        section.output = f"{code}\n"
    else:
        assert title is None or title in OTHER_LIBRARIES, f"{page}: a block is not run because of its title {title!r}"


def local_links(page: Path) -> list[str]:
    """Where the page points to inside the repository."""
    text = FENCE.sub("", page.read_text("utf-8"))
    return [link for link in LINK.findall(text) if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings make."""
    text = FENCE.sub("", page.read_text("utf-8"))
    titles = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
