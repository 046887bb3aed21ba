"""The fake environment is a virtual environment to everything that looks at it, and is made at once."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pytest_cosmos_venv import VERIFIED_DBT_VERSIONS, FakeVenv, ToolkitMisuse

pytest_plugins = ["pytester"]

LOOK = """
import importlib.metadata as m, json, sys, dbt.adapters.duckdb
print(json.dumps([sys.prefix, sys.base_prefix, sorted((d.name, d.version) for d in m.distributions()), dbt.__file__]))
"""


def test_it_is_an_environment_of_its_own(cosmos_fake_venv: FakeVenv) -> None:
    done = subprocess.run([cosmos_fake_venv.python, "-c", LOOK], env={}, capture_output=True, text=True, check=True)

    prefix, base_prefix, distributions, file = json.loads(done.stdout)
    assert prefix == str(cosmos_fake_venv.path)
    assert base_prefix == sys.base_prefix
    assert distributions == [["dbt-core", "1.10.0"], ["dbt-duckdb", "1.10.0"], ["dbt-postgres", "1.10.0"]]
    assert Path(file).is_relative_to(cosmos_fake_venv.path)


def test_installers_see_what_is_in_it(cosmos_fake_venv: FakeVenv) -> None:
    uv = pytest.importorskip("uv").find_uv_bin()
    command = [uv, "pip", "list", "--python", str(cosmos_fake_venv.python), "--format", "json", "--offline"]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert [each["name"] for each in json.loads(done.stdout)] == ["dbt-core", "dbt-duckdb", "dbt-postgres"]


@pytest.mark.parametrize("dbt_version", ["1.10.0", "2.0.0a4"])
def test_every_file_of_its_records_is_there_with_its_size(dbt_version: str, cosmos_fake_venv: FakeVenv) -> None:
    venv = cosmos_fake_venv(dbt_version=dbt_version)
    (site_packages,) = venv.path.glob("lib/*/site-packages")

    rows = [row.split(",") for record in site_packages.glob("*/RECORD") for row in record.read_text().splitlines()]

    assert len(rows) > 20
    for name, _hash, size in rows:
        assert (site_packages / name).stat().st_size == int(size or (site_packages / name).stat().st_size)


def test_dbt_runs_as_a_module_and_from_a_long_path_with_spaces(cosmos_fake_venv: FakeVenv, tmp_path: Path) -> None:
    other = cosmos_fake_venv(path=tmp_path / f"with spaces {'x' * 120}" / "venv")

    for command in ([other.dbt], [other.python, "-m", "dbt.cli.main"]):
        done = subprocess.run([*command, "--version"], env={}, capture_output=True, text=True, check=True)
        assert "installed: 1.10.0" in done.stdout
    assert [call.command for call in other.calls] == ["--version", "--version"]


def test_a_relative_place_is_taken_from_where_it_was_named(
    cosmos_fake_venv: FakeVenv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = cosmos_fake_venv(path="theirs")

    monkeypatch.chdir("/")
    assert subprocess.run([other.dbt, "--version"], stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert len(other.calls) == 1


def test_strict_refuses_as_that_version_of_dbt_does(cosmos_fake_venv: FakeVenv) -> None:
    old, new = (cosmos_fake_venv(dbt_version=f"{version}.3", strict=True) for version in VERIFIED_DBT_VERSIONS[:2])

    refused, taken, plain = (
        subprocess.run([venv.dbt, "deps", *flag], env={}, capture_output=True, text=True, check=False)
        for venv, flag in ((new, ["--select", "a"]), (new, ["--upgrade"]), (cosmos_fake_venv, ["--nonsense"]))
    )
    sqlparse = [
        subprocess.run([venv.dbt, "run", "--sqlparse", "{}"], env={}, capture_output=True, text=True, check=False)
        for venv in (old, new)
    ]

    assert refused.returncode == 2
    assert refused.stderr == (
        "Usage: dbt deps [OPTIONS]\nTry 'dbt deps --help' for help.\n\nError: No such option '--select'.\n"
    )
    assert "No such option" not in taken.stdout + taken.stderr + plain.stdout + plain.stderr
    assert ["No such option '--sqlparse'" in done.stderr for done in sqlparse] == [True, False]
    assert new.calls[0].exit_code == 2


def test_dbt_2_is_a_program_without_a_package_and_without_adapters(cosmos_fake_venv: FakeVenv, tmp_path: Path) -> None:
    venv = cosmos_fake_venv(dbt_version="2.0.0a4", path=tmp_path / f"with spaces {'x' * 120}" / "venv")
    link = tmp_path / "dbt"
    link.symlink_to(venv.dbt)

    done = [
        subprocess.run([dbt, "--version"], env={}, capture_output=True, text=True, check=False)
        for dbt in (venv.dbt, link)
    ]
    code = "import importlib.metadata as m; print([d.name for d in m.distributions()]); import dbt"
    python = subprocess.run([venv.python, "-c", code], env={}, capture_output=True, text=True, check=False)

    assert [each.stdout for each in done] == ["dbt-core 2.0.0-alpha.4\n"] * 2
    assert python.stdout == "['dbt-core']\n"
    assert "No module named 'dbt'" in python.stderr
    assert b"python" not in venv.dbt.read_bytes().splitlines()[0]
    assert [(call.command, call.dbt_version, call.prefix) for call in venv.calls] == [
        ("--version", "2.0.0a4", venv.path)
    ] * 2


def test_the_calls_of_dbt_2_are_read_by_its_own_command_line(cosmos_fake_venv: FakeVenv) -> None:
    venv = cosmos_fake_venv(dbt_version="2.0.0a4", strict=True)

    lines = ["docs", "run --static-analysis off --target dev -s a", "run --nope", "fly"]
    codes = [
        subprocess.run([venv.dbt, *line.split()], env={}, capture_output=True, check=False).returncode for line in lines
    ]

    assert codes == [0, 1, 1, 2]
    assert [call.command for call in venv.calls] == ["docs", "run", "run", None]
    assert venv.calls[1].option("--static-analysis") == "off"


def test_the_ready_made_one_is_not_made_when_another_is_asked_for(cosmos_fake_venv: FakeVenv, tmp_path: Path) -> None:
    one = cosmos_fake_venv(adapters=("snowflake",), path=tmp_path / "theirs")
    assert (tmp_path / "theirs" / "pyvenv.cfg").exists()
    two = cosmos_fake_venv()

    assert one.path != two.path
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([one.path.name, two.path.name])
    two.script(exit_code=3)
    codes = [subprocess.run([venv.dbt, "--version"], check=False).returncode for venv in (one, two)]
    assert codes == [0, 3]
    assert [len(one.calls), len(two.calls)] == [1, 1]


def test_making_one_costs_little_more_than_copying_its_files(cosmos_fake_venv: FakeVenv, tmp_path: Path) -> None:
    """Which is a millisecond or two; how much exactly is told by how busy the machine is."""

    def seconds(act: Callable[[Path], object], name: str) -> float:
        began = time.process_time()
        act(tmp_path / name)
        return time.process_time() - began

    def copy(place: Path) -> None:
        shutil.copytree(cosmos_fake_venv.path, place, symlinks=True)

    _ = cosmos_fake_venv.path
    pairs = [
        (seconds(lambda place: cosmos_fake_venv(path=place), f"made-{turn}"), seconds(copy, f"copied-{turn}"))
        for turn in range(20)
    ]

    assert min(made for made, _ in pairs) < 2 * min(copied for _, copied in pairs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dbt_version": "newest"}, r"dbt_version='newest' is no version of dbt"),
        ({"dbt_version": "1.9.0", "strict": True}, r"strict=True with dbt_version='1.9.0': .* dbt 1.10 and 1.11"),
        ({"adapters": ("dbt-duckdb",)}, r"adapters=\('dbt-duckdb',\): give a tuple of names without 'dbt-'"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, object], message: str, cosmos_fake_venv: FakeVenv) -> None:
    with pytest.raises(ToolkitMisuse, match=message):
        cosmos_fake_venv(**arguments)  # type: ignore[arg-type]  # what a user may get wrong


def test_a_place_that_is_taken_is_refused(cosmos_fake_venv: FakeVenv) -> None:
    with pytest.raises(ToolkitMisuse, match="there is a virtual environment already"):
        cosmos_fake_venv(path=cosmos_fake_venv.path)


def test_a_user_sees_it_pass_and_fail_and_nothing_stays(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_pier="""
        import signal, subprocess

        def test_passes(cosmos_fake_venv):
            cosmos_fake_venv.script("run", exit_code=2)
            assert subprocess.run([cosmos_fake_venv.dbt, "run"]).returncode == 2
            assert cosmos_fake_venv.calls[0].command == "run"

        def test_misuses(cosmos_fake_venv):
            cosmos_fake_venv.script("run", exit_code=1, crash=signal.SIGKILL)

        def test_leaves_a_dbt_and_its_child_running(cosmos_fake_venv):
            cosmos_fake_venv.script(hold=True, child=True, ignore_signals=[signal.SIGTERM])
            subprocess.Popen([cosmos_fake_venv.dbt, "--version"], stdout=subprocess.DEVNULL)
            call = cosmos_fake_venv.wait_for_call(held=True)
            print(f"PIDS {call.pid} {call.child_pid}")
        """
    )

    result = pytester.runpytest_subprocess("-s")

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["exit_code=1 and crash=SIGKILL: a process ends in one way; give one of them.", "FAILED *test_misuses*"]
    )
    result.stdout.no_fnmatch_line("*rules.py*Error*")
    pids = re.search(r"PIDS (\d+) (\d+)", result.stdout.str())
    assert pids is not None
    for pid in map(int, pids.groups()):
        with suppress(psutil.NoSuchProcess):  # it has ended; whoever inherits it takes a moment to collect it
            psutil.Process(pid).wait(30)
