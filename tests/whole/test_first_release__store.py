"""The first release and this one on the same folders: store of environments, listings, plans and seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import Wheelhouse
from tests.installed import AIRFLOW_2, ROOT, needs_airflow_2
from tests.kit import published_build, texts_below
from tests.whole.first_release import DEADLINE, Process, Release, TwoReleases

pytestmark = pytest.mark.long

_VARIABLES = {"AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DBT": "off"}
ALL = ("piers_seed", "staging_run", "mart_run")


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Both releases with a fake dbt in environments below one ``virtualenv_dir``."""

    releases: TwoReleases
    wheelhouse: Wheelhouse

    @property
    def directory(self) -> Path:
        return self.releases.folder / "environments"

    def start(
        self,
        release: Release,
        *tasks: str,
        requirements: Sequence[str] = ("dbt-core", "dbt-duckdb"),
        load_method: str = "custom",
        method: str = "uv",
        **asked: Any,
    ) -> Process:
        return self.releases.start(
            release,
            *tasks,
            variables={**self.wheelhouse.environment, **_VARIABLES, "AIRFLOW__STANDARD__VENV_INSTALL_METHOD": method},
            execution={"mode": "virtualenv", "virtualenv_dir": str(self.directory)},
            render={"load_method": load_method},
            operator_args={
                "py_requirements": requirements,
                "pip_install_options": self.wheelhouse.pip_install_options,
            },
            **asked,
        )

    def run(self, release: Release, *tasks: str, **more: Any) -> dict[str, Any]:
        return self.start(release, *tasks, **more).result()

    def plans(self) -> dict[str, str]:
        """The kept plans: each release has keys of its own, since the other could not read them."""
        return texts_below(self.releases.folder / "cache" / "plans-v1")

    def commands(self) -> list[str | None]:
        """The commands of dbt since the last time."""
        calls = [call.command for call in self.wheelhouse.calls]
        self.wheelhouse.forget()
        return calls


@pytest.fixture
def shared(two_releases: TwoReleases, fake_dbt_wheels: Wheelhouse) -> Shared:
    return Shared(releases=two_releases, wheelhouse=fake_dbt_wheels)


@pytest.fixture(params=["upgrade", "downgrade"])
def turns(request: pytest.FixtureRequest, two_releases: TwoReleases) -> tuple[Release, Release]:
    """The release that comes first, and the other."""
    old, new = two_releases.old, two_releases.new
    return (old, new) if request.param == "upgrade" else (new, old)


def test_what_is_kept_serves_after_the_upgrade_and_after_going_back(
    shared: Shared, packages_of_the_first_release: Path
) -> None:
    old, new = shared.releases.old, shared.releases.new
    first = shared.run(old, *ALL, load_method="dbt_ls")
    build, of_the_first, plans = published_build(shared.directory), shared.commands(), shared.plans()
    upgraded = shared.run(new, *ALL, load_method="dbt_ls")
    of_the_upgraded, plans_of_both = shared.commands(), shared.plans()
    (shared.releases.project / "seeds" / "piers.csv").write_text("id,name\n1,South\n")
    changed = shared.run(new, "piers_seed", load_method="dbt_ls")
    of_the_changed = shared.commands()
    back = shared.run(old, *ALL, load_method="dbt_ls")

    assert [each["package"] for each in (first, upgraded)] == [
        str(packages / "cosmos_venv") for packages in (packages_of_the_first_release, ROOT)
    ]
    assert (first["tasks"], upgraded["tasks"], back["tasks"]) == (dict.fromkeys(ALL, "success"),) * 3
    assert changed["tasks"] == {"piers_seed": "success"}
    assert (first["task_ids"], upgraded["task_ids"], back["task_ids"]) == (sorted(ALL),) * 3
    assert published_build(shared.directory) == build
    assert plans
    assert plans.items() < plans_of_both.items()
    assert of_the_first == ["ls", "seed", "run", "run"]
    assert [command for command in of_the_upgraded if command != "ls"] == ["run", "run"]
    assert [command for command in of_the_changed if command != "ls"] == ["seed"]
    assert [command for command in shared.commands() if command != "ls"] == ["run", "run"]


def test_a_worker_makes_a_plan_of_its_own_beside_that_of_the_first_release(shared: Shared) -> None:
    shared.run(shared.releases.old, load_method="dbt_ls")

    parses = [shared.run(shared.releases.new, "mart_run", load_method="dbt_ls", is_worker=True) for _ in range(2)]

    assert [each["tasks"] for each in parses] == [{"mart_run": "success"}] * 2
    assert [each["task_ids"] for each in parses] == [sorted(ALL), ["mart_run"]], "the plan is kept anew, then used"


def builds(release: Release, action: str, directory: Path) -> list[dict[str, Any]]:
    """The builds of a store, as a command of a release shows them in JSON."""
    done = release.command("env", action, str(directory), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["builds"]
    return found


@pytest.mark.parametrize("turns", ["upgrade", pytest.param("downgrade", marks=pytest.mark.exhaustive)], indirect=True)
def test_neither_removes_what_the_other_uses(shared: Shared, turns: tuple[Release, Release]) -> None:
    first, other = turns
    held = shared.wheelhouse.script("run", hold=True)
    running = shared.start(first, "mart_run")
    shared.wheelhouse.wait_for_call("run", held=True, timeout=DEADLINE)
    used = published_build(shared.directory)
    shared.wheelhouse.script("run")

    beside = shared.run(other, "mart_run")
    apart = shared.run(other, "mart_run", requirements=["dbt-core==1.10.0", "dbt-duckdb"])
    shown = [
        (builds(shared.releases.old, action, shared.directory), builds(shared.releases.new, action, shared.directory))
        for action in ("list", "verify")
    ]
    pruned = other.command("env", "prune", str(shared.directory), "--max-count", "1", "--min-age", "0", "--json")
    held.release()

    assert (beside["tasks"], apart["tasks"]) == ({"mart_run": "success"},) * 2
    for by_the_old, by_the_new in shown:
        assert len(by_the_old) == 2
        assert [each["name"] for each in by_the_old] == [each["name"] for each in by_the_new]
        assert all(old.keys() <= new.keys() for old, new in zip(by_the_old, by_the_new, strict=True))
    assert pruned.returncode == 0, pruned.stderr
    assert used.name not in pruned.stdout
    assert running.result()["tasks"] == {"mart_run": "success"}
    assert used.is_dir()


@pytest.mark.parametrize("turns", ["upgrade", pytest.param("downgrade", marks=pytest.mark.exhaustive)], indirect=True)
def test_one_waits_for_the_build_of_the_other(shared: Shared, turns: tuple[Release, Release]) -> None:
    first, other = turns
    build = shared.wheelhouse.add_sdist("dbt-duckdb", "9.9", hold=True)
    building = shared.start(first, "mart_run")
    build.wait_for_build(timeout=DEADLINE)
    waiting = shared.start(other, "mart_run")
    waiting.wait_until_it_says("Waiting for virtualenv lock")

    build.release()

    assert [each.result()["tasks"] for each in (building, waiting)] == [{"mart_run": "success"}] * 2
    assert f"is held by process {building.popen.pid}" in waiting.said
    assert published_build(shared.directory).name.endswith("-1")


@pytest.mark.parametrize("turns", [pytest.param("upgrade", marks=pytest.mark.exhaustive), "downgrade"], indirect=True)
def test_a_build_that_was_killed_stops_nobody(shared: Shared, turns: tuple[Release, Release]) -> None:
    first, other = turns
    build = shared.wheelhouse.add_sdist("dbt-duckdb", "9.9", hold=True)
    building = shared.start(first, "mart_run")
    build.wait_for_build(timeout=DEADLINE)
    building.popen.kill()
    building.popen.wait()
    build.release()
    left = (shared.directory / "cosmos_virtualenv.lock").read_text()

    done = shared.run(other, "mart_run")

    assert left == str(building.popen.pid)
    assert done["tasks"] == {"mart_run": "success"}
    assert not (shared.directory / "cosmos_virtualenv.lock").exists()


@needs_airflow_2
def test_an_environment_serves_both_on_airflow_2(
    tmp_path: Path, dbt_project: Path, fake_dbt_wheels: Wheelhouse, packages_of_the_first_release: Path
) -> None:
    releases = TwoReleases.on(dbt_project, tmp_path, packages_of_the_first_release, python=str(AIRFLOW_2))
    shared = Shared(releases=releases, wheelhouse=fake_dbt_wheels)

    done = [
        shared.run(release, *ALL, seeds="always", method="pip")
        for release in (releases.old, releases.new, releases.old)
    ]

    assert [each["tasks"] for each in done] == [dict.fromkeys(ALL, "success")] * 3
    assert done[0]["package"] == str(packages_of_the_first_release / "cosmos_venv")
    assert published_build(shared.directory).name.endswith("-1")
