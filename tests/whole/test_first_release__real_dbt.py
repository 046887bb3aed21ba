"""The first release and this one with a real dbt: parse files, packages and warm servers that both keep."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.installed import DBT, needs_dbt
from tests.whole.first_release import Release, TwoReleases
from tests.whole.test_real_packages import cranes

__all__ = ["cranes"]

pytestmark = [pytest.mark.long, needs_dbt]

ALL = ("piers_seed", "staging_run", "mart_run")


@pytest.fixture
def shared(two_releases: TwoReleases, cranes: Path) -> TwoReleases:
    """Both on a project with a package, of which a model uses a macro."""
    project = two_releases.project
    (project / "packages.yml").write_text(f"packages:\n  - git: file://{cranes}\n    revision: main\n")
    (project / "models" / "mart.sql").write_text(
        "select id, {{ cranes.height() }} as height, 'old' as said from {{ ref('staging') }}\n"
    )
    database = two_releases.folder / "harbor.duckdb"
    (project / "profiles.yml").write_text(
        f"harbor: {{target: dev, outputs: {{dev: {{type: duckdb, path: '{database}'}}}}}}\n"
    )
    return two_releases


def run(shared: TwoReleases, release: Release, *tasks: str) -> dict[str, str]:
    """Let a release run tasks, each in a fork of a warm server, and return what became of them."""
    dbt = {"dbt_executable_path": str(DBT), "invocation_mode": "subprocess"}
    process = shared.start(
        release,
        *tasks,
        variables={"AIRFLOW__COSMOS_VENV__LOCAL_WARM_DBT": "require", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
        execution={"mode": "local", **dbt},
        render={"load_method": "dbt_ls", **dbt},
    )
    result: dict[str, str] = process.result()["tasks"]
    return result


def mart(shared: TwoReleases) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(shared.folder / "harbor.duckdb"), read_only=True) as database:
        return database.execute("select * from mart").fetchall()


def servers(release: Release, *arguments: str) -> list[dict[str, Any]]:
    """Return what ``cosmos-venv server`` of a release prints, of this test's servers.

    The command shows the servers of the whole host, those of tests in other workers too (twice in CI).
    """
    done = release.command("server", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["servers"]
    return [each for each in found if Path(each["socket"]).is_relative_to(os.environ["XDG_RUNTIME_DIR"])]


@pytest.mark.usefixtures("no_other_servers")
def test_a_project_runs_on_through_upgrade_and_downgrade_beside_the_servers_of_the_other_release(
    shared: TwoReleases,
) -> None:
    old, new = shared.old, shared.new

    first = run(shared, old, *ALL)
    (of_the_old,) = servers(new, "status")
    upgraded = run(shared, new, *ALL)
    both = {each["pid"] for each in servers(new, "status")}

    assert (first, upgraded) == (dict.fromkeys(ALL, "success"),) * 2
    assert mart(shared) == [(1, 10, "old")]
    assert Path(of_the_old["environment"]) == DBT.parents[1].resolve()
    assert len(both) == 2
    assert of_the_old["pid"] in both

    model = shared.project / "models" / "mart.sql"
    model.write_text(model.read_text().replace("old", "new"))
    changed = run(shared, new, "mart_run")
    of_the_changed = mart(shared)
    model.write_text(model.read_text().replace("new", "back"))
    back = run(shared, old, *ALL)

    assert (changed, of_the_changed) == ({"mart_run": "success"}, [(1, 10, "new")])
    assert (back, mart(shared)) == (dict.fromkeys(ALL, "success"), [(1, 10, "back")])

    ended = servers(new, "stop", *map(str, both))

    assert {each["pid"]: each["has_ended"] for each in ended} == dict.fromkeys(both, True)
