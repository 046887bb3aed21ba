"""The environment variables of pip and uv during a test.

They name one source of packages. The machine's own variables are removed, except variables that choose a Python.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

_OF_AN_INSTALLER = re.compile(r"(PIP|UV)_")
# Variables about interpreters and about copying files: they do not change which packages are installed.
_HARMLESS = re.compile(r"UV_(PYTHON|MANAGED_PYTHON|NO_MANAGED_PYTHON|LINK_MODE|CONCURRENT_)")

_ALONE = {
    **dict.fromkeys(("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"), ""),
    **dict.fromkeys(("UV_DEFAULT_INDEX", "UV_INDEX"), ""),
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    # pip must not cache builds, since tests make builds fail or wait.
    "PIP_NO_CACHE_DIR": "1",
    # No user is there to answer a password prompt.
    "PIP_NO_INPUT": "1",
}


def from_folders(folders: Sequence[Path], *, uv_config: Path) -> dict[str, str]:
    """Return the variables with which pip and uv install from folders.

    :param folders: the folders of packages.
    :param uv_config: a file that tells uv to ask no index; uv has no variable for that.
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
    """Return the variables with which pip and uv install from an index, without a proxy.

    :param url: the address of the index, with a login if it wants one.
    :param host: the host in that address.
    """
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
    """Give pip and uv these variables during the block. The machine's own variables are removed, except
    harmless variables.

    :param variables: name -> value.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if _OF_AN_INSTALLER.match(name) and not _HARMLESS.match(name):
                patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


def _with(host: str, hosts: str) -> str:
    return ",".join([*(each for each in hosts.split(",") if each and each != host), host])
