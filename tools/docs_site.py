"""What the documentation site adds to MkDocs, which calls this module while ``make docs`` builds the site.

Pages may link to any file of the repository. Such a file becomes a page of the site under ``repository/``, so that no
link leaves the site, and it can be read without a network. Links are turned, texts are not: a page reads the same here
and in the repository. When the site is built, what no warning of MkDocs tells is checked.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parents[1]
DOCS = "docs/"
PUBLISHED = "repository/"
IN_NAV = ("ARCHITECTURE.md", "CHANGELOG.md")

# A fenced block, in which nothing is a link, or a link to a file, with its anchor.
FENCE_OR_LINK = re.compile(
    r"^(?P<margin> *)(?P<ticks>```+).*?^(?P=margin)(?P=ticks)$|\]\((?!\w+:|[#/])(?P<link>[^)\s#]+)(?=[)#])",
    re.MULTILINE | re.DOTALL,
)
FOREIGN = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^\s\"'>]+"
    r"|<link\b[^>]*\bhref=[\"']?(?:https?:)?//[^\s\"'>]+"
    r"|url\([\"']?(?:https?:)?//[^)]+"
)
LEXERS = {".py": "python", ".toml": "toml", ".lua": "lua", ".sh": "bash"}

_paths: dict[str, str] = {}
"""The pages made of files of the repository: page -> path in the repository."""


def on_files(files: Files, config: Any) -> Files:
    """Makes pages of the files that pages link to, and of those that these link to."""
    _paths.clear()
    to_read = list(IN_NAV)
    for file in files.documentation_pages():
        to_read += _targets(DOCS + file.src_uri, file.content_string)
    while to_read:
        path = to_read.pop()
        page = _page_of(path)
        if path.startswith(DOCS) or page in _paths:
            continue
        content = _content(path)
        _paths[page] = path
        files.append(File.generated(config, page, content=content, inclusion=InclusionLevel.NOT_IN_NAV))
        to_read += _targets(path, content)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turns links between files of the repository into links between pages."""
    uri = page.file.src_uri
    source = _paths.get(uri, DOCS + uri)

    def turn(found: re.Match[str]) -> str:
        target = found["link"] and _target(source, found["link"])
        if not target or (source.startswith(DOCS) and target.startswith(DOCS)):
            return found[0]
        return "](" + posixpath.relpath(_page_of(target), posixpath.dirname(uri) or ".")

    return FENCE_OR_LINK.sub(turn, markdown)


def on_post_build(config: Any) -> None:
    """Raises PluginError when a page loads something from another host, or option types have lost their fields."""
    site = Path(config.site_dir)
    if "doc-label-dataclass" not in (site / "reference" / "options.html").read_text("utf-8"):
        raise PluginError("the reference takes no class for a dataclass any more; see tools/docstrings.py")
    for file in sorted(site.rglob("*")):
        if file.suffix in (".html", ".css") and (found := FOREIGN.search(file.read_text("utf-8"))):
            raise PluginError(f"{file.relative_to(site)} loads from another host: {found[0]}")


def _targets(source: str, markdown: str) -> Iterator[str]:
    """The files and folders that a page links to, as far as they exist."""
    for found in FENCE_OR_LINK.finditer(markdown):
        if found["link"] and (target := _target(source, found["link"])):
            yield target


def _target(source: str, link: str) -> str | None:
    """Where a link leads, as a path in the repository; None where MkDocs is to complain."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    if path.startswith("..") or not (ROOT / path).exists():
        return None
    return f"{path}/README.md" if (ROOT / path / "README.md").exists() else path


def _page_of(path: str) -> str:
    """The page of the site that shows a file or folder of the repository."""
    if path.startswith(DOCS):
        return path.removeprefix(DOCS)
    if (ROOT / path).is_dir():
        return f"{PUBLISHED}{path}/index.md"
    return PUBLISHED + path + ("" if path.endswith(".md") else ".md")


def _content(path: str) -> str:
    """The Markdown of a page: a file's own, or its text as a block, or a list of what is in a folder."""
    file = ROOT / path
    if file.is_dir():
        modules = sorted(module for module in file.glob("*.py") if not module.name.startswith("__"))
        rows = [f"* [`{module.name}`]({file.name}/{module.name}): {_summary(module)}" for module in modules]
        return "\n".join([f"# {path}/", "", *rows, ""])
    text = file.read_text("utf-8")
    return text if file.suffix == ".md" else f"# {path}\n\n````{LEXERS.get(file.suffix, 'text')}\n{text}````\n"


def _summary(module: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(module.read_text("utf-8"))) or "").partition("\n")[0]
