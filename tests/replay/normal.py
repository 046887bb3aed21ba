"""Texts without what differs from run to run: paths, digests, generated names, times and numbers of processes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_PATTERNS = (
    (r"\x1b\[[0-9;]*m", ""),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<id>"),
    # Of a folder of one run: a number that may have letters alone.
    (r"(<temp>/[\w.-]*-)[0-9a-f]{16}(?=[/'\"\s.:]|$)", r"\1<hash>*"),
    # Of a temporary file: what tempfile makes up.
    (r"(<temp>/[\w.-]*?[-_.]?)[a-z0-9_]{8}(?=[/'\"\s.:]|$)", r"\1*"),
    (r"(?<!\d)\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(\+\d\d:\d\d|Z)?", "<time>"),
    (r"\b\d\d:\d\d:\d\d(\.\d+)?\b", "<time>"),
    (r"\b(?=[a-f]*\d)[0-9a-f]{8,64}\b", "<hash>"),
    (r"\b\d+(\.\d+)? ?(s|seconds?|ms)\b", r"<n> \2"),
    (r"\b(PID|pid|process) \d+\b", r"\1 <n>"),
    (r"0x[0-9a-f]+", "<address>"),
)


class Normal:
    """Replaces what differs from run to run.

    :param places: folder -> the word for it; a folder within another one is replaced first.
    """

    def __init__(self, places: Mapping[Path, str]) -> None:
        deepest_first = sorted(places.items(), key=lambda item: -len(str(item[0])))
        self._places = [(str(path), word) for path, word in deepest_first]

    def __call__(self, text: str) -> str:
        for path, word in self._places:
            text = text.replace(path, word)
        for pattern, word in _PATTERNS:
            text = re.sub(pattern, word, text)
        return text


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
