"""Credentials in the addresses of a text: shown to nobody, and no part of a digest.

They stand in four places: user and password (``https://user:secret@host``), a token in place of a user
(``git+https://token@host``), a query (``?token=…``, a signature), and a password that is not escaped and has ``/`` or
``@`` in it, which no tool takes but each one prints.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

MASK = "****"

# All of it is compiled where it is used, and then kept by ``re``: every worker imports this, and few need it.
_SCHEME = r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*://)"
# Behind the colon of "host:8443/" stands a number. Whatever else there is has begun as a password.
_NO_PORT = r"(?!\d{1,5}(?:/|$))"
_REST = r"[^\s\"'<>]"
_A_HOST = r"(?=[\w.-]+(?:\.[A-Za-z]{2,}|:\d+)(?:[/\s\"']|$))"
# Greedy up to the last "@" before the path: a password may hold an unescaped "@", and quotes; with an unescaped "/" in
# it up to one behind which stands what must be a host, else to the first. Without a scheme, as in --proxy, only what
# has both a user and a password can be told from a name.
_USER_INFO = (
    rf"{_SCHEME}(?P<user_info>[^/\s:@]+:[^/\s@]*/{_REST}*(?=@{_A_HOST})|[^/\s:@]+:{_NO_PORT}[^/\s@]*/{_REST}*?|[^/\s]*)@"
    rf"|(?<![^\s=])(?P<bare>[^\s/:@=]+:(?:[^\s/@]+|(?!//){_REST}+(?=@[\w.-]+:\d)))@(?=[\w\[])"
)
# What is only hidden, and not taken apart, may be too much.
_HIDDEN = rf"{_SCHEME}[^/\s:@]+:(?:{_NO_PORT}[^/\s@]*/{_REST}*@|{_REST}*@{_A_HOST})"

_QUERY = r"(?<=[^\s?])\?(?P<query>[\w.~%\-\[\]]+=[^\s\"'<>#)]*)"
_BARE_QUERY = rf"(?P<address>{_SCHEME}[^\s?\"'<>]*)\?[^\s=\"'<>#)]+(?![^\s=\"'<>#)]*=)"
_NAMED = r"(?P<name>[\w.~%\-\[\]]*)=(?P<value>[^&;\s]*)"
_TELLING_NAME = (
    r"(?i)token|secret|passw|pwd|auth|credential|signature$|^sig$|api[-_]?key|access[-_]?key|accesskeyid|accessid|^key$"
)
# No secret, but part of what is signed and new with each signature.
_SIGNED_NAME = r"(?i)^x-(amz|goog|ms|oss)-|^expires$|^policy$|^key-pair-id$"
_SIGNED_WITH_SIG = r"^(s[veprts]|spr|sip|srt|sk[a-z]+)$"
_SHORTEST_SECRET = 4


def mask(text: str) -> str:
    """The text as it may be logged and stored.

    ``https://user:secret@host`` becomes ``https://****@host``, ``?token=secret&page=2`` becomes
    ``?token=****&page=****``: what is a secret in a query only its server knows.
    """
    for pattern in (_HIDDEN, _USER_INFO):
        text = re.sub(pattern, lambda found: f"{found['scheme'] or ''}{MASK}@", text)
    text = re.sub(_BARE_QUERY, rf"\g<address>?{MASK}", text)
    return re.sub(_QUERY, lambda found: "?" + re.sub(_NAMED, rf"\g<name>={MASK}", found["query"]), text)


def remove(text: str) -> str:
    """The text without user, password and whatever a query has to prove who asks: two texts for one address are equal.

    The rest of a query stays, for it may say what is asked for.
    """
    text = re.sub(_USER_INFO, lambda found: found["scheme"] or "", text)
    return re.sub(_QUERY, _without_secrets, text)


def found_in(text: str) -> list[str]:
    """Every ``user:password`` of the addresses in the text, in order."""
    return [_user_info(match) for match in re.finditer(_USER_INFO, text)]


def secrets_in(text: str) -> set[str]:
    """Every secret of the text in each form in which a tool may say it again: alone, escaped, not escaped."""
    secrets = set()
    for match in re.finditer(_USER_INFO, text):
        user_info = _user_info(match)
        user, _, password = user_info.partition(":")
        if password or not (match["scheme"] or "").endswith("ssh://"):  # "git" is none
            secrets |= {user_info, password or user}
    for query in re.finditer(_QUERY, text):
        secrets |= {each["value"] for each in re.finditer(_NAMED, query["query"]) if _is_secret(each)}
    secrets |= {form(secret) for secret in secrets for form in (unquote, quote, lambda each: quote(each, safe=""))}
    return {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}


def _user_info(match: re.Match[str]) -> str:
    bare: str | None = match["bare"]
    return match["user_info"] if bare is None else bare


def _is_secret(named: re.Match[str]) -> bool:
    return re.search(_TELLING_NAME, named["name"]) is not None


def _without_secrets(found: re.Match[str]) -> str:
    named = list(re.finditer(_NAMED, found["query"]))
    signed = [_SIGNED_NAME, *([_SIGNED_WITH_SIG] if any(each["name"].lower() == "sig" for each in named) else [])]
    left_out = {
        each.group() for each in named if _is_secret(each) or any(re.search(name, each["name"]) for name in signed)
    }
    kept = [part for part in re.split("[&;]", found["query"]) if part not in left_out]
    return f"?{'&'.join(kept)}" if kept else ""
