"""What installers may know of the machine.

What may an installer know of the machine during a test? Where Python is; and one place to install from.

How does uv learn of an interpreter once, and not in each test's own cache? By what other caches have found out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

_OF_AN_INSTALLER = re.compile(r"(PIP|UV)_")
# Which interpreters there are and how files are put in place: nothing of what is installed.
_HARMLESS = re.compile(r"UV_(PYTHON|MANAGED_PYTHON|NO_MANAGED_PYTHON|LINK_MODE|CONCURRENT_)")

_ADDRESSES = {
    "PIP_INDEX_URL": "",
    "PIP_EXTRA_INDEX_URL": "",
    "UV_INDEX_URL": "",
    "UV_EXTRA_INDEX_URL": "",
    "UV_DEFAULT_INDEX": "",
    "UV_INDEX": "",
}
_ALONE = {
    **_ADDRESSES,
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    # Of builds that fail or wait none may be remembered.
    "PIP_NO_CACHE_DIR": "1",
    # Nobody sits there to be asked for a password.
    "PIP_NO_INPUT": "1",
}


def from_folders(folders: Sequence[Path], *, uv_config: Path) -> dict[str, str]:
    """Variables with which pip and uv install from these folders.

    :param uv_config: a file that tells uv to ask no index, for which it has no variable.
    """
    places = [folder.as_uri() for folder in folders]
    return {
        **_ALONE,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": " ".join(places),
        "UV_CONFIG_FILE": str(uv_config),
        "UV_FIND_LINKS": ",".join(places),
    }


def from_index(url: str, *, host: str) -> dict[str, str]:
    """Variables with which pip and uv install from the index at ``url`` on ``host``, which no proxy leads to."""
    around = {name: _with(host, os.environ.get(name, "")) for name in ("no_proxy", "NO_PROXY")}
    return {
        **_ALONE,
        **around,
        "PIP_NO_INDEX": "0",
        "PIP_FIND_LINKS": "",
        "PIP_INDEX_URL": url,
        "UV_CONFIG_FILE": os.devnull,
        "UV_FIND_LINKS": "",
        "UV_INDEX_URL": url,
    }


@contextmanager
def set_only(variables: Mapping[str, str]) -> Iterator[None]:
    """Within, the variables of pip and uv are these, and of the machine's own those that name a Python."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if _OF_AN_INSTALLER.match(name) and not _HARMLESS.match(name):
                patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


def _with(host: str, hosts: str) -> str:
    return ",".join([*(each for each in hosts.split(",") if each and each != host), host])


_FILES = "interpreter-*/*/*.msgpack"


class KnownInterpreters:
    """What uv has found out of interpreters. It costs uv more than making an environment.

    By uv's own layout of its cache: where that is another, nothing is known, and uv asks again. What two tests have
    found out is kept, as the environments of one are gone with it.
    """

    def __init__(self) -> None:
        self._seen: set[Path] = set()
        self._kept: dict[Path, bytes] = {}

    def write_to(self, cache: Path) -> None:
        """Put what is known into a cache.

        :param cache: as ``UV_CACHE_DIR`` names it.
        """
        for name, content in self._kept.items():
            (cache / name).parent.mkdir(parents=True, exist_ok=True)
            (cache / name).write_bytes(content)

    def read_from(self, cache: Path) -> None:
        """Take from a cache what another has had too."""
        for file in cache.glob(_FILES):
            name = file.relative_to(cache)
            if name in self._seen:
                self._kept[name] = file.read_bytes()
            self._seen.add(name)
