"""Each check passes on a sound DAG file, and fails on a file with the fault that it is for."""

from __future__ import annotations

import socket

import pytest

from tests.pytest_cosmos_venv.dag_checks.checked_project import CheckedProject

pytestmark = pytest.mark.long

SOUND = {
    "imports": "passed",
    "no_side_effects": "passed",
    "shape": "passed",
    "assets": "passed",
    "profile": "passed",
    "same_dag": "passed",
}


def test_a_sound_file_passes_every_check(project: CheckedProject) -> None:
    project.add(daily="dag = make()")

    written = project.run("--cosmos-update-snapshots")
    again = project.run()

    assert written.verdicts("dags/daily.py") == again.verdicts("dags/daily.py") == SOUND
    assert again.returncode == 0
    assert "dags/daily.py      5  " in again.output


def test_a_file_that_cannot_be_imported_fails_by_that_alone(project: CheckedProject) -> None:
    project.add(broken="dag = make()\nraise RuntimeError('the crane is out of order')")

    checked = project.run()

    verdicts = checked.verdicts("dags/broken.py")
    assert verdicts.pop("imports") == "failed"
    assert set(verdicts.values()) == {"not checked"}
    assert "RuntimeError: the crane is out of order" in checked.text("dags/broken.py", "imports")
    assert "runpy" not in checked.text("dags/broken.py", "imports")
    assert "see ::imports" in checked.text("dags/broken.py", "assets")


def test_a_file_whose_dags_are_gone_is_compared_with_its_snapshot(project: CheckedProject) -> None:
    project.add(daily="dag = make()")
    project.run("-k", "shape", "--cosmos-update-snapshots")
    project.add(
        daily="""
        from airflow.sdk import Variable

        if Variable.get("quay", default=None):
            dag = make()
        """,
        unbound="make('unbound')",
    )

    here = project.run()
    unbound = project.run("--cosmos-update-snapshots")

    found = here.verdicts("dags/daily.py")
    assert found.pop("imports") == "passed"
    assert found.pop("no_side_effects") == "failed"
    assert found.pop("shape") == "failed"
    assert set(found.values()) == {"not checked"}
    assert "asked Airflow for Variable 'quay'" in here.text("dags/daily.py", "no_side_effects")
    assert "-dag harbor" in here.text("dags/daily.py", "shape")
    assert "builds no DAG that Airflow would find" in unbound.text("dags/unbound.py", "shape")
    # Whoever updates the snapshots of all files has not said that this one is to have none.
    assert not (project.folder / "dags" / "cosmos-snapshots" / "unbound.shape.txt").exists()


def test_a_renamed_task_fails_until_the_shape_is_stored_anew(project: CheckedProject) -> None:
    project.add(daily="dag = make(render={'test_behavior': TestBehavior.NONE})")
    without = project.run("-k", "shape")
    in_ci = project.run("-k", "shape", variables={"CI": "true"})
    project.run("-k", "shape", "--cosmos-update-snapshots")
    stored = (project.folder / "dags" / "cosmos-snapshots" / "daily.shape.txt").read_text("utf-8")
    project.add(daily="dag = make()")

    renamed = project.run("-k", "shape")
    project.run("-k", "shape", "--cosmos-update-snapshots")
    updated = project.run("-k", "shape")

    assert without.verdicts("dags/daily.py") == {"shape": "not checked"}
    assert "write it with --cosmos-update-snapshots" in without.text("dags/daily.py", "shape")
    assert in_ci.verdicts("dags/daily.py") == {"shape": "failed"}
    assert "\n  ships_run (DbtRun" in stored
    told = renamed.text("dags/daily.py", "shape")
    assert "loses its history" in told
    assert "-  ships_run (DbtRun" in told
    assert "+    ships.test (DbtTest" in told
    assert updated.verdicts("dags/daily.py") == {"shape": "passed"}


def test_an_import_over_its_budget_fails(project: CheckedProject) -> None:
    project.add(daily="dag = make()")
    limit = {"AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "0.001"}

    text = project.run("-k", "imports", variables=limit).text("dags/daily.py", "imports")

    assert "s of 0.001 s (Airflow's dagbag_import_timeout)" in text


def test_what_an_import_touches_is_named_with_its_line(project: CheckedProject) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = server.getsockname()
        project.add(
            touching=f"""
            import socket
            import subprocess

            from airflow.sdk import BaseHook, Variable

            dag = make()
            assert BaseHook.get_connection("warehouse").password == "made-up"
            Variable.get("quay", default=None)
            try:
                socket.create_connection({place})
            except ConnectionRefusedError:
                pass
            else:
                raise RuntimeError("there is a network")
            for look_up in (socket.gethostbyname, socket.gethostbyname_ex):
                try:
                    look_up("quay.invalid")
                except OSError as error:
                    assert "has no network" in str(error), error
            try:
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b"x"], [], 0, ("192.0.2.1", 9))
            except ConnectionRefusedError as error:
                assert "has no network" in str(error), error
            else:
                raise RuntimeError("there is a network for datagrams")
            subprocess.run(["true"])
            import parts
            """,
            sound="dag = make('sound')",
        )

        (project.folder / "dags" / "parts.py").write_text("import os\n\nos.system('true')\n", encoding="utf-8")

        checked = project.run("-k", "imports or no_side_effects")

    text = checked.text("dags/touching.py", "no_side_effects")
    assert "connection: asked Airflow for Connection 'warehouse'" in text
    assert "variable: asked Airflow for Variable 'quay'" in text
    assert f"network: opened a connection to 127.0.0.1:{place[1]}" in text
    assert "network: asked for the address of quay.invalid" in text
    assert "network: opened a connection to 192.0.2.1:9" in text
    assert "process: started a process: true" in text
    # The author's own line comes first, then what it calls.
    lines = (project.folder / "dags" / "touching.py").read_text("utf-8").splitlines()
    get = 1 + next(at for at, line in enumerate(lines) if line.startswith("Variable.get"))
    assert f"  dags/touching.py:{get}: variable: asked Airflow for Variable 'quay'\n    through " in text
    assert f"  dags/touching.py:{len(lines)}: process: started a process: true\n    through dags/parts.py:3" in text
    assert text.count("\n  dags/touching.py:") == 7
    assert checked.verdicts("dags/touching.py") == {"imports": "passed", "no_side_effects": "failed"}
    assert checked.verdicts("dags/sound.py") == {"imports": "passed", "no_side_effects": "passed"}


def test_assets_of_two_tasks_are_named_also_across_files(project: CheckedProject) -> None:
    project.add(daily="dag = make('daily')", hourly="dag = make('hourly', render={'select': ['ships']})")

    checked = project.run("-n", "2", "-k", "assets")

    for file, other in (("daily", "hourly"), ("hourly", "daily")):
        text = checked.text(f"dags/{file}.py", "assets")
        assert f"ships is updated by {file}.ships.run, and in dags/{other}.py by {other}.ships.run" in text
    assert "arrivals" not in checked.text("dags/daily.py", "assets")


def test_a_profile_that_does_not_render_is_told_in_the_mappings_own_words(project: CheckedProject) -> None:
    project.add(
        no_target="""
        profile = cosmos.ProfileConfig("harbor", "prod", profiles_yml_filepath=PROJECT / "profiles.yml")
        dag = make("no_target", profile=profile)
        """,
        sound="""
        profile = cosmos.ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml")
        dag = make("sound", profile=profile)
        """,
    )

    checked = project.run("-k", "profile")

    assert "'prod'" in checked.text("dags/no_target.py", "profile")
    assert checked.verdicts("dags/sound.py") == {"profile": "passed"}


def test_a_dag_that_is_another_one_at_the_next_parse_is_shown_as_a_diff(project: CheckedProject) -> None:
    project.add(
        by_hash="dag = make('by_hash')\ndag.doc_md = ' '.join({'pier', 'quay', 'mole', 'berth', 'dock'})",
        by_time="import time\ndag = make('by_time')\ndag.doc_md = str(time.time_ns())",
    )

    checked = project.run("-n", "2", "-k", "same_dag")

    assert "Another seed of Python's hashes gives another DAG" in checked.text("dags/by_hash.py", "same_dag")
    assert "+++ by_hash (then)" in checked.text("dags/by_hash.py", "same_dag")
    assert "The second import in one process gives another DAG" in checked.text("dags/by_time.py", "same_dag")
