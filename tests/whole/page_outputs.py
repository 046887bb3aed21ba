"""The outputs of commands that pages show, and what a test may compare of them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from tests.installed import ROOT
from tests.whole.page_blocks import Block, blocks_of

# In this order: a path may hold digits, a time consists of them.
MASKS = (
    (r"\b[0-9a-f]{12,64}(-[0-9a-f]{8})?\b", "HASH"),
    (r"(?<![\w.])/[\w./-]+", "PATH"),
    (r"\d[\d.,:T+-]*", "N"),
    (r"\bN (MB|KB|GB|kB)\b", "SIZE"),
    (r" in use ", " "),
    (r"\s+", " "),
)


def masked(line: str) -> str:
    """The line without what differs from machine to machine."""
    for pattern, word in MASKS:
        line = re.sub(pattern, word, line)
    return line.strip()


def shown(block: Block) -> Iterator[tuple[list[str], list[str]]]:
    """The words of each command of a block, with the lines that the page shows of its output; ``...`` is left out."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, *lines = part.splitlines()
        yield shlex.split(command), [line for line in lines if line.strip() not in ("", "...")]


def shown_by(page: str, command: str) -> list[str]:
    """The lines that a page shows of the one command that begins so.

    :param page: its path below ``docs``.
    :param command: without ``cosmos-venv``.
    """
    blocks = (block for block in blocks_of(ROOT / "docs" / page) if block.language == "console")
    (lines,) = [lines for block in blocks for words, lines in shown(block) if shlex.join(words[1:]).startswith(command)]
    return lines
