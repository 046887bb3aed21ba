"""Tests of what an environment's metadata tells: its pins, its commands, and files that are not as promised."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from cosmos_venv.environments import post_install
from pytest_cosmos_venv.environments.wheel import Wheel, write_wheel


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """Two unpacked distributions that both bring ``shared/__init__.py``, the second over the first."""
    packages = tmp_path / "lib" / "python3" / "site-packages"
    packages.mkdir(parents=True)
    for name, shared in (("one", "'one'\n"), ("another", "'another one'\n")):
        modules = {"shared/__init__.py": shared, f"shared/{name}.py": ""}
        wheel = write_wheel(Wheel(name=name, version="1.0", files=modules), tmp_path)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(packages)
    return tmp_path


def test_a_file_that_several_distributions_bring_may_be_of_any_of_them(environment: Path) -> None:
    assert post_install.file_faults(environment) == {}
    assert post_install.pins_in(environment) == {"another": "1.0", "one": "1.0"}


def test_a_file_that_is_missing_or_cut_is_named(environment: Path) -> None:
    packages = environment / "lib" / "python3" / "site-packages"
    (packages / "shared" / "__init__.py").write_text("'cut")
    (packages / "shared" / "one.py").unlink()

    faults = post_install.file_faults(environment)

    assert faults == {
        "shared/__init__.py has 4 bytes instead of 6 or 14": "one",
        "shared/one.py is missing": "one",
    }


def test_the_size_that_a_record_gives_of_itself_does_not_count(environment: Path) -> None:
    record = environment / "lib" / "python3" / "site-packages" / "one-1.0.dist-info" / "RECORD"

    record.write_text(record.read_text() + "one-1.0.dist-info/RECORD,,10\n")

    assert post_install.file_faults(environment) == {}
