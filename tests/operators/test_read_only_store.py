"""A store that was built into an image, as OpenShift runs it: read-only, an unknown user, no home, no network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator
from pytest_cosmos_venv import RECORD_VARIABLE, read_dbt_calls

MakeOperator = Callable[..., DbtRunVirtualenvOperator]

ROOT = Path(__file__).resolve().parents[2]
UNKNOWN = 54321

# Run by root in namespaces of its own: mounts that only this process sees, and no network but a loopback that is down.
IN_AN_IMAGE = """
import json, os, subprocess, sys
from pathlib import Path
order = json.loads(sys.argv[1])

def mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True)

def show(folder, at):
    # The home of root is closed to others, and perhaps the interpreter lies there.
    closed = [parent for parent in reversed(Path(folder).parents) if not parent.stat().st_mode & 0o001]
    if closed:
        at.mkdir()
        mount("--bind", folder, at)
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", closed[0])
        Path(folder).mkdir(parents=True)
        mount("--bind", at, folder)

for number, folder in enumerate(order["shown"]):
    show(folder, Path(order["scratch"], str(number)))
mount("--bind", order["store"], order["store"])
mount("-o", "remount,bind,ro", order["store"])

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
    folder = Path(tempfile.mkdtemp(prefix="cosmos-venv-tests-"))
    folder.chmod(0o755)
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o777)
    yield folder
    subprocess.run(["chmod", "-R", "u+w", folder], check=True)
    shutil.rmtree(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root mounts and becomes another user")
def test_a_read_only_store_serves_an_unknown_user_without_home_and_network(
    make_operator: MakeOperator, dbt_project: Path, image: Path
) -> None:
    if subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this container makes no namespaces")
    made_here = make_operator(virtualenv_dir=image / "store")
    made_here.execute({})
    shutil.copytree(dbt_project, image / "harbor")
    order = {
        "user": UNKNOWN,
        "shown": [sys.base_prefix, sys.prefix, str(ROOT)],
        "scratch": str(image),
        "store": str(image / "store"),
        "project_dir": str(image / "harbor"),
        "arguments": {
            "project_dir": str(image / "harbor"),
            "py_requirements": made_here.py_requirements,
            "pip_install_options": made_here.pip_install_options,
            "virtualenv_dir": "/nowhere/envs",
        },
    }
    environ = {
        **os.environ,
        "AIRFLOW__COSMOS_VENV__VIRTUALENV_SEARCH_PATH": str(image / "store"),
        "AIRFLOW__COSMOS_VENV__CACHE_DIR": "",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(image / "tmp"),
        RECORD_VARIABLE: str(image / "tmp" / "calls"),
    }

    ran = subprocess.run(
        ["unshare", "--mount", "--net", sys.executable, "-c", textwrap.dedent(IN_AN_IMAGE), json.dumps(order)],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.stdout.endswith(f"DONE AS {UNKNOWN}\n"), ran.stdout + ran.stderr
    (call,) = read_dbt_calls(image / "tmp" / "calls")
    assert call.prefix.is_relative_to(image / "store")
    assert "HOME" not in call.env
