"""Airflow's own ``prepare_virtualenv`` as an installer of managed environments, used when it is asked for by name.

The function runs in a process of its own, so that the guard ends it with all that it started: nothing would end a
function that Airflow calls in the task itself. Its environment is checked and published like any other build.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

from cosmos_venv.environments.installers.installer import ORDER_VARIABLE, Installer

_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])

# PYTHONPATH would divert the installation, so it is not set: the order has the sys.path of the ordering process.
_START = f"""
import json, os, sys
sys.path[:] = [*json.loads(os.environ[{ORDER_VARIABLE!r}])["sys_path"], {_PACKAGE_ROOT!r}]
from cosmos_venv.managed.airflow_installer import main
sys.exit(main())
"""

# Isolated, for no module of the working directory may be taken for one of the standard library.
AIRFLOW_INSTALLER = Installer(name="airflow", command=(sys.executable, "-I", "-c", _START))


def main() -> int:
    """Make the environment that ``ORDER_VARIABLE`` orders.

    :returns: exit status of the command that failed, else 0.
    """
    from cosmos_venv.compat import prepare_virtualenv

    order = json.loads(os.environ.pop(ORDER_VARIABLE))
    del order["sys_path"]  # it has been set
    # Airflow has set up logging of its own; this output goes into a task's log, which has times and names already.
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    try:
        prepare_virtualenv(**order)
    except subprocess.CalledProcessError as error:
        return error.returncode or 1  # the tool has said why
    return 0
