"""Pieces of Markdown with texts of users: no text becomes HTML, and no text changes the Markdown behind its piece."""

from __future__ import annotations

import re
from collections.abc import Sequence

# The only beginnings of a tag, a comment or a declaration. The "<" becomes an entity: a backslash would
# not escape it where the user's text has a backslash before it already.
_HTML = re.compile(r"<(?=[A-Za-z/!?])")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_BACKTICKS = re.compile(r"`+")
_CUT = " …"
_BESIDE = 3  # characters that an entry of a list has beside its text


def code(text: str) -> str:
    """A text in one line, as code.

    :param text: such as an id.
    """
    line = " ".join(text.split())
    if "`" not in line:  # nearly always: a DAG of 1,000 models calls this some 13,000 times
        return f"`{line}`"
    mark = _longer_than_any_in(line, 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{mark}{space}{line}{space}{mark}"


def block(text: str, language: str) -> str:
    """A text as a block of code.

    :param text: of any lines.
    :param language: by which it is coloured, such as ``sql``.
    """
    mark = _longer_than_any_in(text, 3)
    return f"{mark}{language}\n{text}\n{mark}"


def line(text: str, longest: int) -> str:
    """A text of Markdown as a part of one line.

    :param text: of a user.
    :param longest: characters, at least one; what is longer ends with an ellipsis.
    """
    return _HTML.sub("&lt;", _cut(" ".join(text.split()), longest))


def paragraphs(text: str, longest: int) -> str:
    """A text of Markdown, closed so that another text may follow.

    :param text: of a user.
    :param longest: characters, at least one; what is longer ends with an ellipsis.
    """
    found = _HTML.sub("&lt;", _cut(text.strip(), longest))
    fence = _open_fence(found)
    return f"{found}\n{fence}" if fence else found


def sentence(texts: Sequence[str], longest: int) -> str:
    """Texts with commas between them, as many as there is room for; then the number of the others.

    :param texts: one or more.
    :param longest: characters; the first text is there in any case.
    """
    shown = _number_of(texts, longest)
    more = f" and {len(texts) - shown} more" if shown < len(texts) else ""
    return f"{', '.join(texts[:shown])}{more}"


def bullets(texts: Sequence[str], longest: int) -> str:
    """Texts below each other, as many as there is room for; then the number of the others.

    :param texts: one or more, each in one line.
    :param longest: characters; the first text is there in any case.
    """
    shown = _number_of(texts, longest)
    more = [f"and {len(texts) - shown} more"] if shown < len(texts) else []
    return "\n".join(f"- {text}" for text in [*texts[:shown], *more])


def _number_of(texts: Sequence[str], longest: int) -> int:
    length = 0
    for number, text in enumerate(texts):
        length += len(text) + _BESIDE
        if number and length > longest:
            return number
    return len(texts)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: max(longest - len(_CUT), 0)].rstrip()}{_CUT}"


def _longer_than_any_in(text: str, least: int) -> str:
    return "`" * max(least, *(len(found) + 1 for found in _BACKTICKS.findall(text)), 1)


def _open_fence(text: str) -> str:
    """The fence that ends the last block of code, where the text does not end it."""
    fence = ""
    for each in text.splitlines():
        found = _FENCE.fullmatch(each)
        if not found:
            continue
        mark, rest = found.groups()
        if not fence:
            fence = "" if mark[0] == "`" and "`" in rest else mark
        elif mark.startswith(fence) and not rest.strip():
            fence = ""
    return fence
