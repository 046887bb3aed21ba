"""Which part of a text is a credential: user and password of a URL, shown to nobody and no part of a digest."""

from __future__ import annotations

import re

MASK = "****"

# Greedy up to the last "@" before the path: a password may hold an unescaped "@", and quotes. Without a scheme, as in
# --proxy, only what has both a user and a password can be told from a name. Compiled where it is used, and then kept by
# ``re``: every worker imports this, and few need it.
_USER_INFO = (
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*://)(?P<user_info>[^/\s]*)@"
    r"|(?<![^\s=])(?P<bare>[^\s/:@=]+:[^\s/@]+)@(?=[\w\[])"
)


def mask(text: str) -> str:
    """The text as it may be logged and stored: ``https://user:secret@host`` becomes ``https://****@host``."""
    return re.sub(_USER_INFO, lambda found: f"{found['scheme'] or ''}{MASK}@", text)


def remove(text: str) -> str:
    """The text without any user and password: what two spellings of one address have in common."""
    return re.sub(_USER_INFO, lambda found: found["scheme"] or "", text)


def found_in(text: str) -> list[str]:
    """Every ``user:password`` of the addresses in the text, in order."""
    return [_user_info(match) for match in re.finditer(_USER_INFO, text)]


def replace_each(text: str, replacements: dict[str, str]) -> str:
    """The text with each ``user:password`` that is a key of ``replacements`` changed into its value."""

    def replaced(match: re.Match[str]) -> str:
        user_info = _user_info(match)
        return f"{match['scheme'] or ''}{replacements.get(user_info, user_info)}@"

    return re.sub(_USER_INFO, replaced, text)


def _user_info(match: re.Match[str]) -> str:
    bare: str | None = match["bare"]
    return match["user_info"] if bare is None else bare
