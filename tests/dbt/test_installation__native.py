"""The check of an environment whose dbt is a native program, as dbt 2 is."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from cosmos_venv.dbt.installation import DBT_CHECK

SAYS_ITS_VERSION = '#!/bin/sh\ntest "$*" = "--version" && echo "dbt-core 2.0.0" && echo more\n'


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    folder = tmp_path / "venv"
    venv.create(folder, symlinks=True)
    return folder


def put_dbt(environment: Path, content: bytes) -> Path:
    program = environment / "bin" / "dbt"
    program.write_bytes(content)
    program.chmod(0o755)
    return program


def check(environment: Path) -> subprocess.CompletedProcess[str]:
    command = [str(environment / "bin" / "python"), "-I", "-c", DBT_CHECK]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_check_has_a_native_program_say_its_version(environment: Path) -> None:
    put_dbt(environment, SAYS_ITS_VERSION.encode())

    done = check(environment)

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.splitlines()[-1]) == {"provides": {"engine": "native", "version": "dbt-core 2.0.0"}}


def test_the_check_says_that_a_driver_will_be_downloaded(environment: Path) -> None:
    put_dbt(environment, SAYS_ITS_VERSION.encode())
    without = check(environment).stdout
    (environment / "lib" / "libduckdb.so").touch()

    assert without.startswith(f"No database driver is in {environment / 'lib'}: ")
    assert "No database driver" not in check(environment).stdout


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"\x7fELF for another machine", "the program bin/dbt cannot be run here: ", id="another machine"),
        pytest.param(
            b"#!/bin/sh\necho GLIBC_2.28 not found\nexit 1\n",
            "GLIBC_2.28 not found\nthe program bin/dbt cannot be run here: bin/dbt --version ended with exit status 1",
            id="a library is missing",
        ),
    ],
)
def test_the_check_says_why_a_native_program_does_not_run(environment: Path, content: bytes, says: str) -> None:
    put_dbt(environment, content)

    refused = check(environment)

    assert refused.returncode == 1
    assert refused.stderr.startswith(says)


def test_python_packages_beside_a_native_program_are_not_imported(environment: Path) -> None:
    """dbt-duckdb may stand beside dbt 2, which needs none of it."""
    put_dbt(environment, SAYS_ITS_VERSION.encode())
    (site_packages,) = environment.glob("lib/python*/site-packages")
    (site_packages / "dbt_duckdb-1.11.0.dist-info").mkdir()
    (site_packages / "dbt" / "adapters").mkdir(parents=True)
    (site_packages / "dbt" / "adapters" / "duckdb.py").write_text("raise ImportError('no dbt.cli here')\n")

    assert check(environment).returncode == 0


def test_a_python_dbt_says_its_version_without_being_run(environment: Path) -> None:
    put_dbt(environment, f"#!{sys.executable}\nraise SystemExit('it was run')\n".encode())
    (site_packages,) = environment.glob("lib/python*/site-packages")
    (site_packages / "dbt_core-1.11.2.dist-info").mkdir()
    (site_packages / "dbt" / "cli").mkdir(parents=True)
    (site_packages / "dbt" / "cli" / "main.py").write_text("")

    done = check(environment)

    assert json.loads(done.stdout.splitlines()[-1]) == {"provides": {"engine": "python", "version": "1.11.2"}}
