"""Package indexes that do not answer, or not with what is wanted: the reason in one sentence, and a dry run."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cosmos_venv import credentials
from cosmos_venv.environments.installers import choice
from cosmos_venv.environments.installers.bundled_pip import bundled_pip, own_pip
from cosmos_venv.environments.installers.choice import (
    Installer,
    InstallerPreference,
    choose_installer,
    environment_of_installation,
)
from cosmos_venv.environments.spec import Interpreter
from cosmos_venv.processes.guarded_process import run_guarded
from cosmos_venv.processes.scratch import scratch_folder

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
_HASH_OF_UV = re.compile(r"Hash mismatch for `(?P<name>[^`]+)`")
_HASHES_OF_PIP = "THESE PACKAGES DO NOT MATCH THE HASHES"
_HASH_OF_PIP = re.compile(r"\s+(?P<name>\S.*?) from \S+ \(from .*\):$")
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

_IMPATIENT = {"PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "10", "UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": "10"}
_LAST_LINES = 4
_WANTED = "dbt-core"  # no environment does without


def without_repetitions(lines: Iterable[str]) -> list[str]:
    """Return the lines, with the last of pip's tries in place of all of them, and their number.

    :param lines: everything that an installer has said.
    """
    kept = list(lines)
    tries = [number for number, line in enumerate(kept) if _RETRY.match(line)]
    if len(tries) < 2:
        return kept
    last = tries[-1]
    kept[last] = f"{kept[last]} ({len(tries)} tries)"
    return [line for number, line in enumerate(kept) if number not in tries[:-1]]


def index_failure(lines: Sequence[str], *, hosts: Sequence[str], seconds: float) -> str:
    """Return which index does not answer, why, and what to do; empty where something else has failed.

    :param lines: everything that the installer has said.
    :param hosts: where it was told to look: hosts, and folders of this machine. No credentials.
    :param seconds: that it has taken.
    """
    asked = " or ".join(host for host in hosts if not host.startswith("/"))
    about_it = [line for line in lines if _UNANSWERED.search(line)]
    is_of_pip = any(_RETRY.match(line) for line in about_it)
    # A misspelt name and an index that counts as empty give one message: pip and uv say that nothing was found.
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


def hash_failure(lines: Sequence[str]) -> str:
    """Return which package is not the one that a hash names, and what to do; empty where something else has failed.

    :param lines: everything that the installer has said.
    """
    # Some releases of uv break the sentence at the width of a terminal.
    named = [match["name"] for match in _HASH_OF_UV.finditer(" ".join(line.strip() for line in lines))]
    if any(_HASHES_OF_PIP in line for line in lines):
        named += [match["name"] for line in lines if (match := _HASH_OF_PIP.match(line))]
    if not named:
        return ""
    return (
        f"{credentials.mask(named[0])} is another file than the one that its hash names, so it is not installed. See "
        "who has changed it; where that was meant, lock anew (cosmos-venv env lock)."
    )


def _reason(text: str) -> str:
    for pattern, reason in _REASONS.items():
        if found := re.search(pattern, text):
            return reason.format(**found.groupdict())
    return ""


@dataclass(frozen=True, kw_only=True)
class IndexTrial:
    """The outcome of a dry run. No credential is in it.

    :param installer: its name, and why it was chosen.
    :param hosts: of the indexes, and folders, where it looks.
    :param problem: its last words, or why it was not asked; None: it has found dbt-core.
    :param is_asked: whether it was.
    """

    installer: str
    hosts: tuple[str, ...]
    problem: str | None
    is_asked: bool = True


def try_index(preference: InstallerPreference, environ: Mapping[str, str], *, within: float) -> IndexTrial:
    """Let the installer that would build look for dbt-core. Nothing is installed; a package may be downloaded.

    :param preference: which installer would build.
    :param environ: the worker's environment variables.
    :param within: seconds that it may take.
    :raises VirtualenvBuildError: when the installer that was asked for is not there.
    """
    installer = choose_installer(preference, (), environ)
    name = f"{installer.name} ({installer.reason})"
    hosts = choice.hosts(installer, (), (_WANTED,), environ)
    if installer.command:
        return IndexTrial(installer=name, hosts=hosts, problem="it builds as it likes", is_asked=False)
    with scratch_folder("cosmos-venv-index-") as scratch:
        env = environment_of_installation(installer, environ, scratch)
        command = _command(installer, scratch, env)
        if command is None:
            nobody = "pip comes with each environment only"
            return IndexTrial(installer=name, hosts=hosts, problem=nobody, is_asked=False)
        problem = _problem(command, env | _IMPATIENT, within, hosts)
    return IndexTrial(installer=name, hosts=hosts, problem=problem)


def _command(installer: Installer, scratch: Path, env: Mapping[str, str]) -> list[str] | None:
    words = ["install", "--dry-run", "--no-deps", "--target", str(scratch / "target"), _WANTED]
    if installer.settings is not None:
        return [installer.uv, "pip", *words[:1], "--python", sys.executable, *installer.settings.words, *words[1:]]
    runner = own_pip() or bundled_pip(Interpreter.of(), scratch, env, ask=str)
    return None if runner is None else [sys.executable, "-I", str(runner), *words, "--ignore-installed"]


class _TooLong(Exception):
    pass


def _problem(command: list[str], env: Mapping[str, str], within: float, hosts: Sequence[str]) -> str | None:
    began = time.monotonic()
    deadline = began + within

    def tick() -> None:
        if time.monotonic() > deadline:
            raise _TooLong

    try:
        done = run_guarded(command, env=env, on_tick=tick)
    except _TooLong:
        return f"it was not done within {within:.0f} s"
    except OSError as error:
        return f"it cannot be started: {error}"
    if not done.returncode:
        return None
    said = [line.strip() for line in done.lines if line.strip()]
    if reason := index_failure(said, hosts=hosts, seconds=time.monotonic() - began):
        return credentials.mask(reason)
    return credentials.mask(" ".join(said[-_LAST_LINES:]) or f"exit code {done.returncode}")
