"""A store that was built into an image, as OpenShift runs it: read-only, an unknown user, no home, no network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_cosmos_venv.environments.scripted_dbt import read_dbt_calls
from pytest_cosmos_venv.fake_dbt import RECORD_VARIABLE
from pytest_cosmos_venv.throwaway import throwaway_folder
from tests.environments.elsewhere import REPOSITORY, open_to_everybody, own_python, require_root, within
from tests.kit import MakeOperator

UNKNOWN = 54321

# The operator is made by root, and executed by somebody else.
IN_AN_IMAGE = """
import json, os, sys
order = json.loads(sys.argv[1])
from cosmos_venv.config import ProfileConfig
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator
profile = ProfileConfig("harbor", "dev", profiles_yml_filepath=order["project_dir"] + "/profiles.yml")
operator = DbtRunVirtualenvOperator(task_id="run", profile_config=profile, **order["arguments"])
del os.environ["HOME"]
os.setgroups([])
os.setgid(order["user"])
os.setuid(order["user"])
operator.execute({})
print("DONE AS", os.getuid())
"""


@pytest.fixture
def image() -> Iterator[Path]:
    """A folder that every user can read. Not below ``tmp_path``, which pytest makes for its own user alone."""
    with throwaway_folder("cosmos-venv-tests-") as folder:
        folder.chmod(0o755)
        (folder / "aside").mkdir()
        (folder / "tmp").mkdir()
        (folder / "tmp").chmod(0o777)
        yield folder


@pytest.mark.long
def test_a_read_only_store_serves_an_unknown_user_without_home_and_network(
    make_operator: MakeOperator, dbt_project: Path, image: Path
) -> None:
    require_root("only root may become another user")
    made_here = make_operator(virtualenv_dir=image / "store")
    made_here.execute({})
    shutil.copytree(dbt_project, image / "harbor")
    order = {
        "user": UNKNOWN,
        "project_dir": str(image / "harbor"),
        "arguments": {
            "project_dir": str(image / "harbor"),
            "py_requirements": made_here.py_requirements,
            "pip_install_options": made_here.pip_install_options,
            "virtualenv_dir": "/nowhere/envs",
        },
    }
    store = image / "store"
    read_only = f"mount --bind {store} {store}\nmount -o remount,bind,ro {store}"
    in_an_image = within("--net", setup=f"{open_to_everybody(own_python(), image / 'aside')}\n{read_only}")
    environ = {
        **os.environ,
        "AIRFLOW__COSMOS_VENV__VIRTUALENV_SEARCH_PATH": str(store),
        "AIRFLOW__COSMOS_VENV__CACHE_DIR": "",
        "PYTHONPATH": str(REPOSITORY),
        "TMPDIR": str(image / "tmp"),
        RECORD_VARIABLE: str(image / "tmp" / "calls"),
    }

    ran = subprocess.run(
        [*in_an_image, sys.executable, "-c", IN_AN_IMAGE, json.dumps(order)],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.stdout.endswith(f"DONE AS {UNKNOWN}\n"), ran.stdout + ran.stderr
    (call,) = read_dbt_calls(image / "tmp" / "calls")
    assert call.prefix.is_relative_to(store)
    assert "HOME" not in call.env
