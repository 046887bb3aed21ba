"""The blocks of code on pages, each with the page and the line where it begins."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.installed import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "pytest_cosmos_venv" / "README.md",
    ROOT / "examples" / "user_project" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
_FENCED = re.compile(
    r"^(?P<indent> *)(?P<fence>```+)(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=indent)(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of a page.

    :param line: of its first line, from 1.
    :param language: the word behind the fence; empty where there is none.
    """

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@cache
def blocks_of(page: Path) -> tuple[Block, ...]:
    """Every fenced block of a page. Directives of the site, in braces, are none."""
    text = page.read_text(encoding="utf-8")
    return tuple(
        Block(
            page=page,
            line=text.count("\n", 0, found.start("text")) + 1,
            language=found["language"].strip(),
            text=textwrap.dedent(found["text"]),
        )
        for found in _FENCED.finditer(text)
        if not found["language"].strip().startswith("{")
    )


def blocks_in(text: str, language: str) -> list[str]:
    """The blocks of one language in the text of a page, or of a part of it."""
    return [textwrap.dedent(each["text"]) for each in _FENCED.finditer(text) if each["language"].strip() == language]
