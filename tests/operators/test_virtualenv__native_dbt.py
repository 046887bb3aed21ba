"""Virtualenv operators with a dbt that is a native program, as dbt 2 is. `test_dbt_versions.py` has the real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.config import ProfileConfig
from cosmos_venv.operators import virtualenv
from cosmos_venv.operators.local import DbtRunOperationLocalOperator
from pytest_cosmos_venv import FakeVenv
from pytest_cosmos_venv.environments.wheel import Wheel, write_wheel
from tests.kit import operator_arguments

PROGRAM = """\
#!/bin/sh
test "$1" = --version && echo "dbt-core 2.0.0" && exit 0
echo "$*" >> "$NATIVE_CALLS"
test "$1$NATIVE_SOURCES" = source1 && mkdir -p "$4/target" && echo "{}" > "$4/target/sources.json" && exit 0
test "$1" = source && echo "[warning] [Unexpected (dbt9002)]: Unhandled command: Source"
exit 0
"""
DOWNLOADS = "No database driver is in "


class MakeNative:
    """Factory of virtualenv operators whose dbt is a native program."""

    def __init__(self, arguments: dict[str, Any], calls: Path) -> None:
        self._arguments, self._calls = arguments, calls

    def __call__(self, command: str, **given: Any) -> Any:
        return getattr(virtualenv, f"Dbt{command}VirtualenvOperator")(**{**self._arguments, **given})

    @property
    def calls(self) -> list[str]:
        """The command lines of the program, without its ``--version``."""
        return self._calls.read_text().splitlines()


@pytest.fixture
def make_native(dbt_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeNative:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    files = {"dbt_core-2.0.0.data/scripts/dbt": PROGRAM}
    write_wheel(Wheel(name="dbt-core", version="2.0.0", files=files), wheels)
    monkeypatch.setenv("NATIVE_CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("HOME", str(tmp_path))
    arguments = {
        "task_id": "task",
        "project_dir": dbt_project,
        "profile_config": ProfileConfig("harbor", "dev", profiles_yml_filepath=dbt_project / "profiles.yml"),
        "py_requirements": ["dbt-core==2.0.0"],
        "pip_install_options": ["--no-index", "--find-links", str(wheels)],
        "virtualenv_dir": tmp_path / "kept",
    }
    return MakeNative(arguments, tmp_path / "calls")


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: "".join(capfd.readouterr())


def test_a_driver_that_is_named_stands_where_dbt_looks(
    make_native: MakeNative, tmp_path: Path, said: Callable[[], str]
) -> None:
    driver = tmp_path / "libduckdb.so"
    driver.write_bytes(b"\x7fELF")

    make_native("Run", adbc_drivers=[str(driver)]).execute({})

    assert DOWNLOADS not in said()
    assert list((tmp_path / "kept").glob("envs-v2/*/lib/libduckdb.so"))


def test_a_command_that_dbt_has_not_done_fails_the_task(make_native: MakeNative) -> None:
    with pytest.raises(AirflowException, match="has done nothing: Unhandled command: Source"):
        make_native("Source").execute({})


@pytest.mark.parametrize(
    ("dbt_version", "refusal"),
    [
        ("1.11.0", "Error: No such option '--static'."),
        ("2.0.0a4", "error: unexpected argument '--static' found"),
    ],
)
def test_an_option_that_dbt_does_not_have_is_told_with_what_it_may_come_from(
    dbt_project: Path, cosmos_fake_venv: FakeVenv, dbt_version: str, refusal: str
) -> None:
    venv = cosmos_fake_venv(dbt_version=dbt_version)
    venv.script("run-operation", exit_code=2, stderr=[refusal])
    flags = {"macro_name": "clean", "dbt_cmd_flags": ["--static"]}
    given = operator_arguments(dbt_project, dbt_executable_path=venv.dbt, **flags)

    with pytest.raises(
        AirflowException,
        match=r"This dbt has no option --static\. It may come from the parameter of that name, dbt_cmd_flags or",
    ):
        DbtRunOperationLocalOperator(**given).execute({})
