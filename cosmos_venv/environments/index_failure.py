"""What pip and uv say when an index does not answer, in one sentence and without their repetitions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# Of pip: urllib3's tries, each with the same words.
_RETRY = re.compile(r"WARNING: Retrying \(Retry\(")
_UNANSWERED = re.compile(
    rf"{_RETRY.pattern}|Could not fetch URL|HTTP error \d+ while getting|\b(?:Read|Connect)TimeoutError\b|ProxyError"
    r"|Max retries exceeded|Failed to fetch|[Rr]equest failed after|error sending request|could not be queried due to"
)
# pip's last words, where that is why it has failed: what was tried in vain for one file may be had from elsewhere.
_IN_THE_END = re.compile(
    r"No matching distribution|Max retries|Timeout|Connection|ProxyError|SSLError|HTTP error|OSError"
)
_END = 6
_NOTHING_FOUND = re.compile(r"satisfies the requirement (?P<name>\S+) .*\(from versions: none\)")
_NOTHING_FOUND_BY_UV = re.compile(r"Because (?P<name>\S+) was not found in the package registry")
_HOSTS = (
    re.compile(r"https?://(?:[^/\s@]*@)?(?P<host>\[[0-9a-fA-F:.]+\](?::\d+)?|[\w.-]+(?::\d+)?)[/\s)'\"]"),
    re.compile(r"Connection(?:Pool)?\(host='(?P<host>[^']+)', port=\d+"),
)
# The first that fits is told.
_REASONS = {
    r"[Cc]ertificate|CERTIFICATE|UnknownIssuer|\bSSLError|SSLCert": "its certificate is not trusted",
    r"[Pp]roxy|tunnel": "the proxy does not let it through",
    r"Failed to resolve|dns error|Name or service not known|name resolution|nodename nor serv": "its name is unknown",
    r"Connection refused": "it refuses the connection",
    r"[Tt]imed out|TimeoutError|timeout": "no answer came in time",
    r"\b401\b": "it wants a login, and got none that it knows (401)",
    r"\b403\b": "it refuses this login (403)",
    r"\b(?P<status>5\d\d)\b": "it says {status}",
}
_WAY_OUT = "See that this host reaches it (its address, HTTPS_PROXY, a firewall)"
_WAYS_OUT = {
    "its certificate": "Name its certificates (PIP_CERT or SSL_CERT_FILE)",
    "it wants": "Give its login in the address of the index or in .netrc",
    "it refuses this": "Correct its login in the address of the index or in .netrc",
}


def without_repetitions(lines: Iterable[str]) -> list[str]:
    """The lines, with the last of the tries in place of all of them, and their number."""
    kept = list(lines)
    tries = [number for number, line in enumerate(kept) if _RETRY.match(line)]
    if len(tries) < 2:
        return kept
    last = tries[-1]
    kept[last] = f"{kept[last]} ({len(tries)} tries)"
    return [line for number, line in enumerate(kept) if number not in tries[:-1]]


def index_failure(lines: Sequence[str], *, hosts: Sequence[str], seconds: float) -> str:
    """That an index does not answer, which, why, and what to do; empty where it is something else that has failed.

    :param lines: everything that the installer has said.
    :param hosts: where it was told to look: hosts, and folders of this machine. No credentials.
    :param seconds: that it has taken.
    """
    asked = " or ".join(host for host in hosts if not host.startswith("/"))
    about_it = [line for line in lines if _UNANSWERED.search(line)]
    is_of_pip = any(_RETRY.match(line) for line in about_it)
    if not about_it or (is_of_pip and not any(_IN_THE_END.search(line) for line in lines[-_END:])):
        missing = next((found for line in lines if (found := _NOTHING_FOUND.search(line))), None)
        # Some releases of uv break the sentence at the width of a terminal.
        missing = missing or _NOTHING_FOUND_BY_UV.search(" ".join(line.strip() for line in lines))
        if missing is None or not asked:
            return ""
        return (
            f"no release of {missing['name']} was found at {asked} (tried for {seconds:.0f} s). Correct the name, or "
            "see that the index answers and knows this login: one that answers with an error may count as empty."
        )
    named = [match["host"] for pattern in _HOSTS for line in about_it if (match := pattern.search(line))]
    reason = _reason("\n".join(about_it + list(lines[lines.index(about_it[-1]) :])))
    way_out = next((way_out for begin, way_out in _WAYS_OUT.items() if reason.startswith(begin)), _WAY_OUT)
    return (
        f"the package index {next(iter(named), asked) or 'that is configured'} cannot be used"
        f"{f': {reason}' if reason else ''} (tried for {seconds:.0f} s). {way_out}; environments that are built "
        "already need no index."
    )


def _reason(text: str) -> str:
    for pattern, reason in _REASONS.items():
        if found := re.search(pattern, text):
            return reason.format(**found.groupdict())
    return ""
