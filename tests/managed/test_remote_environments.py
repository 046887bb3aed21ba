"""The remote store of environments, by its settings: in tasks, and in the builder of a parse."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.managed import resolve
from cosmos_venv.managed.resolve import VirtualenvArguments
from tests.kit import DbtCalls, MakeOperator
from tests.remote_settings import KEY, Configure


def archives(remote: Path) -> list[str]:
    return sorted(path.name for path in remote.rglob("*.tar.zst"))


@pytest.mark.parametrize("kept_as", ["connection", "file"])
def test_a_task_fetches_what_a_task_of_another_machine_has_built(
    make_operator: MakeOperator,
    dbt_calls: DbtCalls,
    tmp_path: Path,
    remote: Path,
    key_file: Path,
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kept_as: str,
) -> None:
    if kept_as == "connection":
        monkeypatch.setenv("AIRFLOW_CONN_DBT_ENVIRONMENTS", f"generic://:{KEY.replace(' ', '%20')}@")
        configure(remote_key_conn_id="dbt_environments")
    else:
        configure(remote_key_file=key_file)

    make_operator(virtualenv_dir=tmp_path / "envs").execute({})
    built = capsys.readouterr().out
    (tmp_path / "envs").rename(tmp_path / "disk of the builder")
    make_operator(virtualenv_dir=tmp_path / "envs").execute({})
    fetched = capsys.readouterr().out

    assert len(archives(remote)) == 1
    assert "Creating the virtualenv" in built
    assert "Fetched " in fetched
    assert "Creating the virtualenv" not in fetched
    assert KEY not in built + fetched
    assert [call.prefix.is_relative_to(tmp_path / "envs") for call in dbt_calls()] == [True, True]


@pytest.mark.long
def test_the_builder_of_a_parse_gets_the_key_of_a_connection_that_only_the_parse_can_ask_for(
    make_operator: MakeOperator,
    tmp_path: Path,
    remote: Path,
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Kept:
        password = KEY

    configure(remote_key_conn_id="of_the_secrets_backend")
    monkeypatch.setattr("cosmos_venv.managed.signing_key.get_connection", lambda _: Kept())
    make_operator(virtualenv_dir=tmp_path / "envs").execute({})
    (tmp_path / "envs").rename(tmp_path / "disk of the builder")
    arguments = VirtualenvArguments.of(vars(make_operator()))

    with resolve.environment_for_parsing(arguments, tmp_path / "envs", report=print) as environment:
        record = environment.record

    assert record.fetched_from == f"file://{remote}"
    kept = [path.read_text() for path in (tmp_path / "envs").rglob("*.log")]
    assert kept
    assert not any(KEY in text for text in kept)


def test_a_remote_without_anything_to_trust_is_refused(
    make_operator: MakeOperator, tmp_path: Path, remote: Path
) -> None:
    with pytest.raises(AirflowException, match=r"nothing says whose environments may be run here\. Set remote_key"):
        make_operator(virtualenv_dir=tmp_path / "one").execute({})

    assert not remote.exists()


def test_a_key_that_is_none_is_refused(
    make_operator: MakeOperator,
    tmp_path: Path,
    remote: Path,
    key_file: Path,
    configure: Configure,
) -> None:
    key_file.write_text("short")
    configure(remote_key_file=key_file)

    words = rf"remote_key_file = '{re.escape(str(key_file))}'.*it has 5 bytes, and at least 16 are needed"
    with pytest.raises(AirflowException, match=words):
        make_operator(virtualenv_dir=tmp_path / "one").execute({})

    assert not remote.exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        pytest.param({"remote_key_conn_id": "missing"}, "the connection 'missing'", id="connection"),
        pytest.param({"remote_key_file": "/missing/key"}, "its key file /missing/key", id="file"),
    ],
)
def test_a_key_that_cannot_be_had_costs_a_build_and_no_failure(
    make_operator: MakeOperator,
    dbt_calls: DbtCalls,
    tmp_path: Path,
    remote: Path,
    configure: Configure,
    capsys: pytest.CaptureFixture[str],
    setting: dict[str, str],
    message: str,
) -> None:
    configure(**setting)

    make_operator(virtualenv_dir=tmp_path / "one").execute({})

    (line,) = [line for line in capsys.readouterr().out.splitlines() if "remote_environment_dir cannot be used" in line]
    assert message in line
    assert len(dbt_calls()) == 1
    assert not remote.exists()
