"""What a deployment of Airflow has besides Airflow: the product as an installed distribution, and plain variables."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.installed import ROOT, WHEELS, site_packages_of


def install_product(folder: Path) -> None:
    """Make a folder for ``PYTHONPATH`` in which the product is a distribution with its entry points.

    :param folder: must not exist.
    """
    folder.mkdir()
    installed = site_packages_of(ROOT / ".venv")
    assert installed is not None
    (about,) = installed.glob("cosmos_venv-*.dist-info")
    shutil.copytree(about, folder / about.name)
    (folder / "cosmos_venv").symlink_to(ROOT / "cosmos_venv")


def plain_variables(*, home: Path, short: Path) -> dict[str, str]:
    """The environment variables of a machine that runs Airflow: none of those of the tests.

    :param home: the home of Airflow.
    :param short: a folder with a short path, for sockets and temporary files.
    """
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        "AIRFLOW_HOME": str(home),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "TMPDIR": str(short),
        "XDG_RUNTIME_DIR": str(short),
        # Real wheels, from those that `make test` has fetched.
        **dict.fromkeys(("PIP_FIND_LINKS", "UV_FIND_LINKS"), str(WHEELS)),
        **dict.fromkeys(("PIP_NO_INDEX", "UV_NO_INDEX"), "1"),
    }
