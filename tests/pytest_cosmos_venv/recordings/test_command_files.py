"""What a recorded command leaves in its folder."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pytest_cosmos_venv.recordings.recording import read_recording
from tests.pytest_cosmos_venv.recordings.stand_in_dbt import DEADLINE, environment, record, recorder, write_dbt

RESULTS = {"metadata": {"dbt_version": "1.11.2"}, "results": [{"unique_id": "model.shop.orders", "status": "success"}]}


def test_a_command_is_kept_with_its_output_events_artifacts_and_end(tmp_path: Path) -> None:
    code = f"""
print('one')
print('two', file=sys.stderr)
event('StatsLine', 'Done.')
write('run_results.json', {RESULTS!r})
sys.exit(1)
"""
    record(tmp_path / "recording", write_dbt(tmp_path, code), "run", "--select", "orders", cwd=tmp_path)

    (command,) = read_recording(tmp_path / "recording").commands

    assert (command.command, command.arguments) == ("run", ("run", "--select", "orders"))
    assert (command.exit_code, command.dbt_version) == (1, "1.11.2")
    assert (command.stdout, command.stderr) == ("one\n", "two\n")
    assert [event["info"]["name"] for event in command.events] == ["StatsLine"]
    assert command.nodes == {"model.shop.orders": "success"}
    assert command.seconds > 0


def test_artifacts_of_an_earlier_command_are_not_those_of_this_one(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "run_results.json").write_text(json.dumps(RESULTS), encoding="utf-8")
    dbt = write_dbt(tmp_path, "write('manifest.json', {'metadata': {'project_name': 'shop'}})")

    record(tmp_path / "recording", dbt, "parse", cwd=tmp_path)

    (command,) = read_recording(tmp_path / "recording").commands
    assert command.artifact("run_results.json") is None
    assert command.artifact("manifest.json") == {"metadata": {"project_name": "shop"}}


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        pytest.param(["--target-path", "out"], {}, id="option"),
        pytest.param([], {"DBT_TARGET_PATH": "out"}, id="variable"),
    ],
)
def test_artifacts_are_found_where_the_command_puts_them(
    arguments: list[str], variables: dict[str, str], tmp_path: Path
) -> None:
    dbt = write_dbt(tmp_path, f"os.mkdir('out')\nPath('out/run_results.json').write_text({json.dumps(RESULTS)!r})")

    record(tmp_path / "recording", dbt, "run", *arguments, cwd=tmp_path, variables=variables)

    (command,) = read_recording(tmp_path / "recording").commands
    assert command.nodes == {"model.shop.orders": "success"}


def test_paths_of_the_machine_are_replaced_by_words(tmp_path: Path) -> None:
    project = tmp_path / "shop"
    project.mkdir()
    code = (
        "print(os.getcwd() + '/models/orders.sql', os.getcwd() + '-2')\nwrite('manifest.json', {'root': os.getcwd()})"
    )

    dbt = write_dbt(tmp_path / "venv", code)
    record(tmp_path / "recording", dbt, "run", "--project-dir", str(project), cwd=project)

    (command,) = read_recording(tmp_path / "recording").commands
    assert command.arguments == ("run", "--project-dir", "<project>")
    assert command.stdout == f"<project>/models/orders.sql {project}-2\n"
    assert command.artifact("manifest.json") == {"root": "<project>"}


def test_macros_that_come_with_dbt_are_left_out_of_the_manifest(tmp_path: Path) -> None:
    macros = {"macro.dbt.run": {"package_name": "dbt"}, "macro.shop.mine": {"package_name": "shop"}}
    manifest = {"metadata": {"project_name": "shop"}, "nodes": {"model.shop.orders": {}}, "macros": macros}

    record(tmp_path / "recording", write_dbt(tmp_path, f"write('manifest.json', {manifest!r})"), "parse", cwd=tmp_path)

    kept = read_recording(tmp_path / "recording").commands[0].artifact("manifest.json")
    assert kept == {**manifest, "macros": {"macro.shop.mine": {"package_name": "shop"}}}


def test_commands_at_the_same_moment_are_all_kept(tmp_path: Path) -> None:
    dbt = write_dbt(tmp_path, "print(sys.argv[-1])")
    commands = [[*recorder(tmp_path / "recording", dbt), "run", "-s", f"m{number}"] for number in range(6)]

    running = [subprocess.Popen(each, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE) for each in commands]
    for process in running:
        process.communicate(timeout=DEADLINE)

    kept = read_recording(tmp_path / "recording").commands
    assert sorted(each.stdout.strip() for each in kept) == [f"m{number}" for number in range(6)]
    assert not list((tmp_path / "recording").glob(".*"))


def test_a_recording_that_cannot_be_written_leaves_the_end_of_dbt_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "recording").write_text("a file", encoding="utf-8")

    done = record(tmp_path / "recording", write_dbt(tmp_path, "sys.exit(1)"), "run", cwd=tmp_path)

    assert done.returncode == 1
    assert "this command was not recorded" in done.stderr
