"""Credentials in the addresses of a text, so that they are shown to nobody and are no part of a digest.

They stand in four places: user and password (``https://user:secret@host``), a token in place of a user
(``git+https://token@host``), a query (``token=…``, a signature), and a password with an unescaped ``/`` or ``@``. No
tool takes such a password, but each one prints it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from urllib.parse import quote, unquote

MASK = "****"

# Compiled where it is used, and then kept by ``re``: every worker imports this, and few need it.
#
# The masked text may have megabytes that a database printed. So no pattern here is tried at each character, and no
# pattern looks ahead without a limit: earlier patterns took 76 s for 100 kB of hexadecimal digits.
_PORT = r"\d{0,5}"
# A password with an unescaped "/" ends at an "@" that a host follows: with a port, or a top-level domain.
_BEFORE_A_HOST = r"@(?=[\w.-]+(?:\.[A-Za-z]{2,}|:\d+)(?:[/\s\"']|$))"
_END_OF_ADDRESS = r"[\"'<>]"
# Without a scheme, as in --proxy, only a text with both user and password can be told from a name.
_BARE = r"(?P<bare>[^\s/:@=]+:(?:[^\s/@]+|(?!//)[^\s\"'<>]+(?=@[\w.-]+:\d)))@(?=[\w\[])"
_LONGEST_BARE = 4_096
_MOST_OPTIONS = 20  # in one word, each behind a "="

_QUERY = r"(?<=[^\s?])\?(?P<query>[\w.~%\-\[\]]+=[^\s\"'<>#)]*)"
_BARE_QUERY = r"\?(?P<query>[^\s=\"'<>#)]+)(?P<is_named>=?)"
_NAMED = r"(?P<name>[\w.~%\-\[\]]*)=(?P<value>[^&;\s]*)"
_TELLING_NAME = (
    r"(?i)token|secret|passw|pwd|auth|credential|signature$|^sig$|api[-_]?key|access[-_]?key|accesskeyid|accessid|^key$"
)
# These values are no secret, but they are part of a signature and new with each signature.
_SIGNED_NAME = r"(?i)^x-(amz|goog|ms|oss)-|^expires$|^policy$|^key-pair-id$"
_SIGNED_WITH_SIG = r"^(s[veprts]|spr|sip|srt|sk[a-z]+)$"
_SHORTEST_SECRET = 4


def mask(text: str) -> str:
    """Return a text as it may be logged and stored.

    ``https://user:secret@host`` becomes ``https://****@host``, ``?token=secret&page=2`` becomes
    ``?token=****&page=****``: only its server knows what is a secret in a query.

    :param text: any text, such as the output of a tool.
    """
    text = _replaced(text, _user_infos(text, with_guesses=True), f"{MASK}@")
    text = re.sub(r"\S+", _without_bare_queries, text) if "?" in text else text
    return re.sub(_QUERY, lambda found: "?" + re.sub(_NAMED, rf"\g<name>={MASK}", found["query"]), text)


def remove(text: str) -> str:
    """Return a text without user, password and the parts of a query that log in.

    So two texts for one address are equal. The rest of a query stays, for it may say what is asked for.

    :param text: an address, or a text with addresses in it.
    """
    text = _replaced(text, _user_infos(text), "")
    return re.sub(_QUERY, _without_secrets, text)


def found_in(text: str) -> list[str]:
    """Return every ``user:password`` of the addresses in a text, in order.

    :param text: the text.
    """
    return [text[begin:end] for begin, end in _user_infos(text)]


def secrets_in(text: str) -> set[str]:
    """Return every secret of a text in each form in which a tool may print it: alone, escaped, not escaped.

    :param text: an option or requirement, with addresses in it.
    """
    secrets = set()
    for begin, end in _user_infos(text):
        user_info = text[begin:end]
        user, _, password = user_info.partition(":")
        if password or not text.endswith("ssh://", 0, begin):  # "git" in ssh://git@host is no secret
            secrets |= {user_info, password or user}
    for query in re.finditer(_QUERY, text):
        secrets |= {each["value"] for each in re.finditer(_NAMED, query["query"]) if _is_secret(each)}
    secrets |= {form(secret) for secret in secrets for form in (unquote, quote, lambda each: quote(each, safe=""))}
    return {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}


def _user_infos(text: str, *, with_guesses: bool = False) -> list[tuple[int, int]]:
    """Return where the user infos of the addresses in the text begin and end; behind each stands its "@".

    :param with_guesses: whether ``12/34`` in ``https://user:12/34@host.example`` is taken for a password, and not for a
        port and a path. To hide too much is no harm, but ``https://host:8443/shop.git@1.8.latest`` is an address.
    """
    if "@" not in text:
        return []
    found = []
    for word in re.finditer(r"\S*@\S*", text):
        of_word = _user_infos_of(word.group(), with_guesses=with_guesses)
        found += [(word.start() + begin, word.start() + end) for begin, end in of_word]
    return found


def _user_infos_of(word: str, *, with_guesses: bool) -> list[tuple[int, int]]:
    """Return the user infos of a text without blanks, as ``_user_infos``."""
    found: list[tuple[int, int]] = []
    ats, before_hosts, ends = (_places(pattern, word) for pattern in ("@", _BEFORE_A_HOST, _END_OF_ADDRESS))
    for begin in (each + len("://") for each in _places("://", word)):
        if found and begin < found[-1][1]:
            continue
        slash = word.find("/", begin)
        # Up to the last "@" before the path: a password may hold an unescaped "@", and quotes.
        at = word.rfind("@", begin, slash if slash >= 0 else len(word))
        if at < 0 <= slash:
            user, colon, password = word[begin:slash].partition(":")
            is_address = not user or not colon or re.fullmatch(_PORT, password) is not None
            if not is_address or (with_guesses and colon and user):
                end = _first(ends, slash, len(word))
                at = _last(before_hosts, slash, end)
                if at < 0 and not is_address:
                    at = _first(ats, slash, end)
                    at = -1 if at == end else at
        if at >= 0:
            found.append((begin, at))
    if not found and len(word) <= _LONGEST_BARE:
        for begin in [0, *(place + 1 for place in _places("=", word)[:_MOST_OPTIONS])]:
            if bare := re.compile(_BARE).match(word, begin):
                return [bare.span("bare")]
    return found


def _places(pattern: str, text: str) -> list[int]:
    return [found.start() for found in re.finditer(pattern, text)]


def _first(places: list[int], begin: int, end: int) -> int:
    """Return the first of the sorted places that lies between the two; ``end`` when none does."""
    index = bisect_left(places, begin)
    return min(places[index], end) if index < len(places) else end


def _last(places: list[int], begin: int, end: int) -> int:
    """Return the last of the sorted places that lies between the two; -1 when none does."""
    index = bisect_left(places, end)
    return places[index - 1] if index and places[index - 1] >= begin else -1


def _replaced(text: str, user_infos: list[tuple[int, int]], by: str) -> str:
    """Return the text with each user info and its "@" replaced."""
    parts, done = [], 0
    for begin, end in user_infos:
        parts += [text[done:begin], by]
        done = end + len("@")
    return "".join([*parts, text[done:]])


def _without_bare_queries(word: re.Match[str]) -> str:
    """Hide each query of one word in the addresses of a text without blanks: such a query may be a signature."""
    text = word.group()
    begin = text.find("://")
    if begin < 0:
        return text
    hidden = re.sub(_BARE_QUERY, lambda each: each.group() if each["is_named"] else f"?{MASK}", text[begin:])
    return text[:begin] + hidden


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
