"""The output of ``cosmos-venv env list``, ``show``, ``verify`` and ``prune``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.environments.store import Environment
from cosmos_venv.files.kernel_lock import Lease, lease_path
from tests.cli.conftest import Run
from tests.kit import MakeReady, SetAge

DAY = 86_400


@pytest.fixture
def env(run: Run) -> Run:
    return lambda *words: run("env", *words)


@pytest.fixture
def make_used(tmp_path: Path, make_ready: MakeReady, set_age: SetAge) -> Callable[[str, float], Environment]:
    """Factory of environments in ``store``: any text makes another, used as many seconds ago."""

    def make(text: str, age: float) -> Environment:
        spec = EnvironmentSpec(
            requirements=(), pip_install_options=("--find-links", f"/{text}"), interpreter=Interpreter.of()
        )
        environment = make_ready(tmp_path / "store", spec)
        set_age(lease_path(environment.path), age)
        return environment

    return make


@pytest.fixture
def store(tmp_path: Path, make_used: Callable[[str, float], Environment]) -> Path:
    """A store of two environments, used two and forty days ago."""
    make_used("used", 2 * DAY)
    make_used("forgotten", 40 * DAY)
    return tmp_path / "store"


def test_list_shows_what_stands_there(env: Run, store: Path) -> None:
    shown, data = env("list", store), json.loads(env("list", store, "--json").stdout)

    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[0].split("  ")[0] == "environment"
    assert (
        len(re.findall(r"^[0-9a-f]{12}-[0-9a-f]{8} +ready +20\S+ +\S+ kB +no requirements$", shown.stdout, re.M)) == 2
    )
    assert "on disk together" in shown.stdout
    assert data["virtualenv_dir"] == str(store)
    assert {each["state"] for each in data["builds"]} == {"ready"}
    assert data["bytes"] > max(each["bytes"] for each in data["builds"]) > 0
    assert {each["in_use"] for each in data["builds"]} == {False}
    assert all("pins" not in each["record"] for each in data["builds"])


def test_list_of_an_empty_directory_and_of_none(env: Run, tmp_path: Path) -> None:
    empty, none = env("list", tmp_path), env("list", tmp_path / "nowhere")

    assert (empty.returncode, empty.stdout) == (0, f"{tmp_path} holds no managed environment.\n")
    assert (none.returncode, none.stdout) == (1, "")
    assert f"there is no directory {tmp_path}/nowhere" in none.stderr


def test_show_tells_all_of_one(env: Run, store: Path) -> None:
    first, _ = json.loads(env("list", store, "--json").stdout)["builds"]

    shown = env("show", store, first["digest"][:10])
    (data,) = json.loads(env("show", store, first["digest"], "--json").stdout)["builds"]

    assert shown.returncode == 0, shown.stderr
    assert yaml.safe_load(shown.stdout) == [data]
    assert data["record"]["pins"] == {}
    assert data["path"] == first["path"]


def test_a_digest_that_fits_nothing_is_said_with_exit_code_1(env: Run, store: Path) -> None:
    for command in ("show", "verify"):
        done = env(command, store, "xyz")

        assert (done.returncode, done.stdout) == (1, "")
        assert "DIGEST 'xyz' fits no environment of this directory" in done.stderr


def test_verify_has_exit_code_1_when_something_differs(env: Run, store: Path) -> None:
    before = env("verify", store)
    damaged, _ = json.loads(env("list", store, "--json").stdout)["builds"]
    Path(damaged["path"], "pyvenv.cfg").unlink()
    after, one = env("verify", store, "--json"), env("verify", store, damaged["digest"])

    assert (before.returncode, before.stdout.count("sizes of all files are as installed")) == (0, 2)
    assert after.returncode == one.returncode == 1
    assert [each["faults"] for each in json.loads(after.stdout)["builds"]] == [["pyvenv.cfg is missing or empty"], []]
    assert one.stdout == (f"{damaged['name']}  no requirements: pyvenv.cfg is missing or empty\nlock: free\n")
    assert json.loads(after.stdout)["lock"] == {"state": "free", "detail": None}


def test_prune_says_what_it_would_do_and_does_it(env: Run, store: Path) -> None:
    dry = env("prune", store, "--dry-run")
    left = len(list((store / "envs-v2").glob("*-????????")))
    done = env("prune", store, "--json")

    assert (dry.returncode, done.returncode, left) == (0, 0, 2), dry.stderr + done.stderr
    assert "  no requirements: would be removed, it was last used 40 days ago\n" in dry.stdout
    data = json.loads(done.stdout)
    assert [each["reason"] for each in data["removed"]] == ["it was last used 40 days ago"]
    assert (data["kept"], data["dry_run"]) == ([], False)
    assert not Path(data["removed"][0]["path"]).exists()
    assert len(list((store / "envs-v2").glob("*-????????"))) == 1
    assert env("prune", store).stdout == "Nothing is beyond the limits.\n"


def test_an_option_wins_over_the_configuration(env: Run, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_PRUNE_MAX_AGE_DAYS", "1")
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_PRUNE_MIN_AGE", str(50 * DAY))

    configured = env("prune", store, "--dry-run", "--json")
    shown = env("prune", store, "--dry-run").stdout
    given = env("prune", store, "--dry-run", "--json", "--max-age-days", "0", "--max-count", "1", "--min-age", "0")

    assert json.loads(configured.stdout)["removed"] == []
    assert "kept, it was used less than 4320000 seconds ago (it was last used 40 days ago)" in shown
    assert "; --min-age 0 removes it\n" in shown
    assert [each["reason"] for each in json.loads(given.stdout)["removed"]] == ["there are more than 1 environments"]


def test_prune_removes_the_environment_that_is_named_alone_once_no_task_uses_it(
    env: Run, store: Path, make_used: Callable[[str, float], Environment]
) -> None:
    used = make_used("used", 0)
    dry = env("prune", store, "--digest", used.digest[:12], "--dry-run")
    lease = Lease.shared(used.path)
    assert lease is not None
    with closing(lease):
        held = env("prune", store, "--digest", used.digest)
    was_there = used.path.exists()
    done, none = (env("prune", store, "--digest", used.digest[:12]) for _ in range(2))

    assert (dry.returncode, held.returncode, done.returncode, was_there) == (0, 1, 0, True), dry.stderr + done.stderr
    assert "may not go (it was asked for): it is in use; try again when the tasks that run in it have" in held.stdout
    assert done.stdout == f"{used.digest[:12]}-{used.path.name[-8:]}  no requirements: removed, it was asked for\n"
    assert not used.path.exists()
    assert len(list((store / "envs-v2").glob("*-????????"))) == 1
    assert none.returncode == 1
    assert (
        f"DIGEST '{used.digest[:12]}' fits no environment of this directory: see cosmos-venv env list." in none.stderr
    )
