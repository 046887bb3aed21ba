"""Tests of additions to a wheelhouse: other versions, packages to be built, and broken ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_cosmos_venv import CosmosDbt
from pytest_cosmos_venv.environments.wheel import Wheel
from pytest_cosmos_venv.errors import ToolkitMisuse
from tests.pytest_cosmos_venv.environments.installing import Install

pytest_plugins = ["pytester"]


def test_the_shared_folder_stays_as_it_is_and_additions_are_the_tests_own(
    cosmos_dbt: CosmosDbt, tmp_path: Path
) -> None:
    before = sorted(cosmos_dbt.path.iterdir())
    options = cosmos_dbt.pip_install_options

    wheel = cosmos_dbt.add_dbt("1.9.0")

    assert options == ["--no-index", "--find-links", str(cosmos_dbt.path)]
    assert cosmos_dbt.pip_install_options == [*options, "--find-links", str(wheel.parent)]
    assert wheel.is_relative_to(tmp_path)
    assert sorted(cosmos_dbt.path.iterdir()) == before


def test_two_that_an_installer_could_not_tell_apart_are_refused(cosmos_dbt: CosmosDbt) -> None:
    cosmos_dbt.add_sdist("dbt-harbor", "1.0")

    for add in (
        lambda: cosmos_dbt.add_adapter("duckdb", dbt="dbt-core>=1.9"),
        lambda: cosmos_dbt.add_broken("truncated", version="1.10.0"),
        lambda: cosmos_dbt.add_sdist("dbt-core", "1.10.0"),
        lambda: cosmos_dbt.add_dbt("1.10"),
        lambda: cosmos_dbt.add_adapter("harbor", "1.0"),
    ):
        with pytest.raises(ToolkitMisuse, match=r"is in the wheelhouse already, as dbt_\S+, and .* another version"):
            add()


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        pytest.param("conflicting-pins", {"pip": "ResolutionImpossible", "uv": "No solution found"}, id="pins"),
        pytest.param("truncated", {"pip": "dbt-core", "uv": "Failed to read from zip file"}, id="truncated"),
    ],
)
def test_what_cannot_be_installed_fails_in_the_installers_words(
    breakage: str, words: dict[str, str], install: Install
) -> None:
    install.wheelhouse.add_broken(breakage)

    exit_code, output = install("dbt-core==99.0")

    assert exit_code != 0
    assert words[install.installer] in output


def test_what_is_broken_can_be_installed_and_then_fails(install: Install) -> None:
    install.wheelhouse.add_broken("import-error", "dbt-harbor")
    install.wheelhouse.add_broken("no-console-script")
    install.wheelhouse.add_broken("wrong-record", "dbt-other")

    exit_code, output = install("dbt-harbor", "dbt-other")

    assert exit_code == 0, output
    assert install.installed == {"dbt_core", "dbt_harbor", "dbt_other"}  # and no bin/dbt
    code = "import dbt.adapters.other; import dbt.adapters.harbor"
    failed = subprocess.run(
        [sys.executable, "-c", code], cwd=install.target, capture_output=True, text=True, check=False
    )
    assert "ImportError: this fake of dbt-harbor was made to fail when it is imported" in failed.stderr
    record = next(install.target.glob("dbt_other-*.dist-info/RECORD")).read_text(encoding="utf-8")
    assert "dbt/adapters/other/__init__.py,sha256=AAAA" in record


def test_any_wheel_can_be_added(cosmos_dbt: CosmosDbt) -> None:
    wheel = cosmos_dbt.add(Wheel(name="harbor-tools", version="1.0", files={"harbor_tools.py": ""}))

    assert wheel.name == "harbor_tools-1.0-py3-none-any.whl"


INNER = """
    import os
    from pathlib import Path
    import pytest

    @pytest.mark.parametrize("number", range(3))
    def test_the_options_are_the_same_for_every_test(cosmos_dbt, number):
        with Path(os.environ["OPTIONS"]).open("a") as options:
            options.write(" ".join(cosmos_dbt.pip_install_options) + "\\n")
        cosmos_dbt.add_dbt("1.9.0")
        assert cosmos_dbt.calls == []
        assert os.environ["PIP_NO_INDEX"] == "1"

    @pytest.fixture
    def variables():
        before = dict(os.environ)
        yield
        assert {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"} == {
            k: v for k, v in before.items() if k != "PYTEST_CURRENT_TEST"}

    def test_the_variables_are_as_before(variables, cosmos_dbt):
        cosmos_dbt.index.require_login("harbor", "s3cret")
        assert "harbor:s3cret@" in os.environ["UV_INDEX_URL"]

    def test_nobody_else_sees_a_thing():
        assert not [name for name in os.environ if name.startswith(("PIP_", "UV_", "COSMOS_"))
                    if name not in os.environ["MACHINE"].split()]
"""


@pytest.mark.long
def test_it_is_equal_for_all_tests_and_workers_and_leaves_nothing_behind(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTIONS", str(pytester.path / "options"))
    monkeypatch.setenv("UV_INDEX_URL", "https://user:password@index.invalid")
    monkeypatch.setenv("MACHINE", " ".join(os.environ))
    pytester.makepyfile(INNER)

    result = pytester.runpytest_subprocess("-n", "2")

    result.assert_outcomes(passed=5)
    assert len(set((pytester.path / "options").read_text(encoding="utf-8").splitlines())) == 1
