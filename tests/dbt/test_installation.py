"""Which dbt is installed there, read from its environment's files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cosmos_venv.dbt.installation import identity_of
from cosmos_venv.dbt.native.program import MAGIC


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    for name in ("dbt_core-1.11.2", "dbt_duckdb-1.11.0", "click-8.1"):
        (tmp_path / "env" / "lib" / "python3.11" / "site-packages" / f"{name}.dist-info").mkdir(parents=True)
    (tmp_path / "env" / "bin").mkdir()
    (tmp_path / "env" / "bin" / "dbt").write_text("")
    return tmp_path / "env"


def test_version_and_adapters_are_told_and_what_is_installed_besides_is_not(environment: Path) -> None:
    executable = str(environment / "bin" / "dbt")

    assert identity_of(executable).splitlines() == [
        executable,
        "dbt_core-1.11.2.dist-info",
        "dbt_duckdb-1.11.0.dist-info",
    ]


@pytest.mark.parametrize("name", ["dbt-2.0.9", "dbt_oss-2.0.9"])
def test_an_upgrade_of_a_dbt_2_of_another_name_is_seen(environment: Path, name: str) -> None:
    folder = environment / "lib" / "python3.11" / "site-packages" / f"{name}.dist-info"
    folder.mkdir()

    assert folder.name in identity_of(str(environment / "bin" / "dbt")).splitlines()


def test_a_link_to_the_script_leads_to_its_environment(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "dbt").symlink_to(environment / "bin" / "dbt")

    assert "dbt_core-1.11.2.dist-info" in identity_of(str(tmp_path / "dbt"))


def test_a_script_that_starts_a_dbt_elsewhere_is_told_by_itself(tmp_path: Path) -> None:
    script = tmp_path / "bin" / "dbt"
    script.parent.mkdir()
    script.write_text("exec uvx dbt")
    os.utime(script, ns=(1, 1))
    before = identity_of(str(script))

    os.utime(script, ns=(2, 2))

    assert identity_of(str(script)) != before
    assert identity_of(str(tmp_path / "absent")) == str(tmp_path / "absent")


def test_an_update_of_a_native_dbt_beside_packages_that_stay_is_seen(environment: Path) -> None:
    program = environment / "bin" / "dbt"
    program.write_bytes(MAGIC[0] + b"a private build")
    before = identity_of(str(program))
    os.utime(program, ns=(1, 1))
    on_another_machine = identity_of(str(program))

    program.write_bytes(MAGIC[0] + b"its next release")

    assert identity_of(str(program)) != before
    assert on_another_machine == before, (
        "machines share what dbt ls has said, and each has installed it at a time of its own"
    )
