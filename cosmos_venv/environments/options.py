"""What a user's options for pip or uv say, option by option."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_LONG_NAMES = {
    "-i": "--index-url",
    "-f": "--find-links",
    "-r": "--requirement",
    "--requirements": "--requirement",
    "-c": "--constraint",
    "--constraints": "--constraint",
    "-e": "--editable",
    "-U": "--upgrade",
    "-q": "--quiet",
    "-v": "--verbose",
    "-t": "--target",
    "-I": "--ignore-installed",
    "-h": "--help",
    "-b": "--build-constraints",
    "-n": "--no-cache",
    "-P": "--upgrade-package",
    "-C": "--config-settings",
    "--config-setting": "--config-settings",
    "--default-timeout": "--timeout",
    "--only-dependencies": "--only-deps",
    "--require-venv": "--require-virtualenv",
}

# Second spellings that only pip knows: each is passed on as the one that both know.
_OF_PIP_ALONE = {"--no-dependencies": "--no-deps", "--pypi-url": "--index-url"}

# A test compares it with the parsers of pip and uv: a switch that is missing here would swallow the next word.
WITHOUT_VALUE = {
    *("--no-index", "--no-deps", "--require-hashes", "--upgrade", "--pre", "--force-reinstall", "--quiet", "--verbose"),
    *("--no-build-isolation", "--no-cache-dir", "--no-build", "--no-sources", "--native-tls", "--system-certs"),
    *("--offline", "--no-cache", "--reinstall", "--refresh", "--no-config", "--no-verify-hashes", "--user"),
    *("--prefer-binary", "--no-input", "--no-compile", "--compile", "--ignore-installed", "--isolated", "--no-color"),
    *("--disable-pip-version-check", "--no-warn-script-location", "--no-warn-conflicts", "--no-clean", "--dry-run"),
    *("--ignore-requires-python", "--use-pep517", "--no-use-pep517", "--check-build-dependencies", "--debug"),
    *("--break-system-packages", "--no-python-version-warning", "--require-virtualenv", "--no-user", "--help"),
    *("--only-deps", "--no-require-hashes", "--no-proxy-env", "--no-editable", "--all-extras", "--system", "--check"),
    *("--require-build-hashes", "--no-break-system-packages", "--exact", "--strict", "--compile-bytecode"),
    *("--managed-python", "--no-managed-python", "--no-python-downloads", "--no-progress"),
}

_NAMES_A_FILE = {"--requirement", "--constraint"}


@dataclass(frozen=True, kw_only=True)
class InstallOption:
    """One option and what it means.

    :param name: its long name; empty for an argument that is no option.
    :param value: what follows it; None for a switch.
    :param words: the command line words that say so, as they were written where pip and uv both know them.
    :param origin: the requirements file that it stands in; empty for an option of the installation itself.
    """

    name: str
    value: str | None
    words: tuple[str, ...]
    origin: str = ""

    @property
    def names_requirements_file(self) -> bool:
        return self.name in _NAMES_A_FILE


def parse(words: Iterable[str]) -> Iterator[InstallOption]:
    """Options of ``pip install`` or ``uv pip install`` in their order, in every way pip lets one write them."""
    remaining = iter(words)
    for written in remaining:
        *switches, word = _unbundled(_spelt_for_both(written))
        for switch in switches:
            yield InstallOption(name=_LONG_NAMES.get(switch, switch), value=None, words=(switch,))
        name, value, is_complete = _split(word)
        if is_complete or name in WITHOUT_VALUE:
            yield InstallOption(name=name, value=value, words=(word,))
            continue
        follower = next(remaining, None)
        yield InstallOption(name=name, value=follower, words=(word,) if follower is None else (word, follower))


def in_requirements(requirements: Iterable[str]) -> Iterator[InstallOption]:
    """Options among requirements, such as ``-r FILE``."""
    for text in requirements:
        if text.lstrip().startswith("-"):
            yield from parse(shlex.split(text))


def _spelt_for_both(word: str) -> str:
    name, equals, value = word.partition("=")
    return f"{_OF_PIP_ALONE.get(name, name)}{equals}{value}"


def _unbundled(word: str) -> list[str]:
    """``-Ur`` is ``-U -r``: short switches may share a word with each other and with what follows them."""
    if word.startswith("--") or len(word) < 3 or _LONG_NAMES.get(word[:2]) not in WITHOUT_VALUE:
        return [word]
    return [word[:2], *_unbundled(f"-{word[2:]}")]


def _split(word: str) -> tuple[str, str | None, bool]:
    """Long name, value, and whether the word says all (else the value is the next word)."""
    if not word.startswith("-"):
        return "", word, True
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return _LONG_NAMES.get(name, name), value if equals else None, bool(equals)
    attached = word[2:].lstrip("=").strip()
    return _LONG_NAMES.get(word[:2], word[:2]), attached or None, bool(attached)
