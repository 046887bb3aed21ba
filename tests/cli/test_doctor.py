"""Tests of the trials that ``cosmos-venv doctor`` makes, and of the advice that it gives."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from cosmos_venv.cli import main
from cosmos_venv.cli.doctor import (
    Examined,
    Finding,
    check_airflow,
    check_directories,
    check_settings,
    check_sockets,
    try_index,
)
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from tests.environments.elsewhere import remounted, tmpfs, within
from tests.environments.upgrades import change_record
from tests.kit import MakeReady, MakeSpec


def outcomes(findings: list[Finding]) -> list[str]:
    return [each.outcome for each in findings]


def of_directory(path: Path, *, is_searched: bool = False) -> list[Finding]:
    """The findings about a directory; the last finding of the check is about the temporary folder."""
    searched = frozenset([path] if is_searched else [])
    return list(check_directories(Examined(directories=(path,), searched=searched)))[:-1]


def test_a_good_machine_has_exit_code_0_and_one_shape(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--dir", str(tmp_path), "--only", "directory", "--json"])

    findings = json.loads(capfd.readouterr().out)["findings"]
    assert code == 0, findings
    assert [each["check"] for each in findings] == ["directory", "directory"]
    assert {tuple(each) for each in findings} == {("check", "subject", "outcome", "text", "way_out")}
    assert list(tmp_path.iterdir()) == [], "what was made for a trial is removed"


def test_options_that_nobody_reads_and_values_that_are_refused_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    (airflow,) = check_airflow(Examined())
    (before,) = check_settings(Examined())
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DTB", "auto")
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_BUILD", "perhaps")
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_SEARCH_PATH", "relative")
    monkeypatch.setenv("AIRFLOW__COSMOS__PROPAGATE_LOGS_CMD", "true")

    unknown, of_cosmos, *refused = check_settings(Examined())

    assert (airflow.outcome, before.outcome) == ("ok", "ok")
    assert (unknown.subject, unknown.outcome) == ("[cosmos_venv] virtualenv_warm_dtb", "warning")
    assert unknown.way_out == "Did you mean virtualenv_warm_dbt?"
    assert (of_cosmos.subject, of_cosmos.outcome) == ("[cosmos] propagate_logs", "warning")
    assert outcomes(refused) == ["failed", "failed"]
    assert "virtualenv_build = 'perhaps': it can be auto or never" in refused[0].text
    assert "'relative' is relative" in refused[1].text


@pytest.mark.parametrize(
    ("name", "is_searched", "outcome"),
    [
        pytest.param("later", False, "ok", id="not-there-yet"),
        pytest.param("later", True, "warning", id="searched-and-not-there"),
        pytest.param("file", False, "failed", id="a-file"),
        pytest.param("file/below", False, "failed", id="below-a-file"),
    ],
)
def test_a_directory_that_does_not_exist_yet_is_told_apart_from_one_that_cannot_be(
    tmp_path: Path, name: str, is_searched: bool, outcome: str
) -> None:
    (tmp_path / "file").touch()

    assert outcomes(of_directory(tmp_path / name, is_searched=is_searched)) == [outcome]
    assert not (tmp_path / "later").exists()


def test_a_directory_that_others_may_replace_has_failed(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    (found,) = of_directory(tmp_path / "missing")

    assert found.outcome == "failed"
    assert f"because of {tmp_path} above it: everybody may write to it" in found.text


@pytest.mark.parametrize(("mode", "outcome"), [(0o777, "warning"), (0o1777, "ok")], ids=["open", "sticky"])
def test_temporary_files_that_others_may_replace_are_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, outcome: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tmp_path.chmod(mode)

    assert outcomes(list(check_directories(Examined()))) == [outcome]


def doctor_on_a_mount(mounted_at: Path, options: str, *, is_searched: bool) -> tuple[int, list[tuple[str, str, str]]]:
    """The exit code, and what the check of the directory has against the mount: its name, outcome and text."""
    place = within(setup=f"{tmpfs(mounted_at)}\n{remounted(mounted_at, options)}")
    searched = f"AIRFLOW__COSMOS_VENV__VIRTUALENV_SEARCH_PATH={mounted_at if is_searched else ''}"
    words = ["doctor", "--only", "directory", "--json", *(() if is_searched else ("--dir", mounted_at))]
    done = subprocess.run(
        [*place, "env", searched, sys.executable, "-m", "cosmos_venv.cli", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    found = [each for each in json.loads(done.stdout)["findings"] if each["subject"] == str(mounted_at)]
    return done.returncode, [
        (each["check"], each["outcome"], each["text"])
        for each in found
        if each["check"] == "directory" and each["outcome"] != "ok"
    ]


@pytest.mark.long
def test_a_read_only_mount_is_right_on_the_search_path_alone_if_programs_can_be_started_there(tmp_path: Path) -> None:
    as_own = doctor_on_a_mount(tmp_path, "ro", is_searched=False)
    searched = doctor_on_a_mount(tmp_path, "ro", is_searched=True)
    unusable = doctor_on_a_mount(tmp_path, "ro,noexec", is_searched=True)

    assert (as_own[0], [each[:2] for each in as_own[1]]) == (0, [("directory", "warning")])
    assert searched == (0, [])
    assert (unusable[0], [each[:2] for each in unusable[1]]) == (1, [("directory", "failed")])
    assert "noexec: no program in it can be started" in unusable[1][0][2]


def test_environments_of_a_python_that_is_not_here_are_a_warning(
    tmp_path: Path, make_ready: MakeReady, make_spec: MakeSpec
) -> None:
    make_ready(tmp_path, make_spec("hello==1.0"))
    environment = make_ready(tmp_path, make_spec())
    spec = environment.record.spec
    change_record(
        environment, spec=replace(spec, interpreter=replace(spec.interpreter, executable="/usr/local/bin/python"))
    )

    warning, ok = of_directory(tmp_path, is_searched=True)

    assert outcomes([warning, ok]) == ["warning", "ok"]
    assert warning.text == "1 of 2 environments are made of /usr/local/bin/python, which is not here."


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(None, "a second open file gets the lock that the first one holds", id="no-effect"),
        pytest.param(errno.ENOLCK, "it has no kernel locks (No locks available)", id="no-locks"),
    ],
)
def test_a_mount_whose_locks_do_not_lock_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int | None, words: str
) -> None:
    def locks_nothing(*_: object) -> None:
        if answer is not None:
            raise OSError(answer, os.strerror(answer))

    monkeypatch.setattr(fcntl, "flock", locks_nothing)

    (found,) = of_directory(tmp_path)

    assert (found.outcome, words in found.text) == ("failed", True)
    assert "mounted without nolock and local_lock" in found.way_out


@pytest.mark.parametrize("preference", ["pip", "uv"])
def test_an_index_that_does_not_answer_is_told_without_its_password(preference: str) -> None:
    address = "http://user:s3cret@127.0.0.1:9/simple"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    environ = {**kept, "PIP_INDEX_URL": address, "UV_DEFAULT_INDEX": address, "PIP_CONFIG_FILE": "/dev/null"}

    tried = try_index(preference, {**environ, "UV_NO_CONFIG": "1"})  # type: ignore[arg-type]

    assert tried.outcome == "failed"
    assert tried.text.startswith("dbt-core cannot be had from 127.0.0.1:9: ")
    assert "s3cret" not in repr(tried)


def test_an_index_that_has_dbt_is_asked_as_a_build_would_ask(fake_dbt_wheels: Wheelhouse, tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    environ = {**kept, "UV_NO_INDEX": "1", "UV_FIND_LINKS": str(fake_dbt_wheels.path), "UV_NO_CONFIG": "1"}

    tried = try_index("uv", environ)

    assert (tried.outcome, tried.subject) == ("ok", "uv (uv was asked for)")


@pytest.mark.parametrize(
    ("setting", "choice", "outcome"),
    [
        ("VIRTUALENV_WARM_DBT", "off", "ok"),
        ("VIRTUALENV_WARM_DBT", "auto", "warning"),
        ("LOCAL_WARM_DBT", "require", "failed"),
    ],
)
def test_a_socket_that_cannot_be_made_is_as_grave_as_the_graver_setting_takes_it(
    setting: str, choice: str, outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 30)))
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DBT", "off")
    monkeypatch.setenv(f"AIRFLOW__COSMOS_VENV__{setting}", choice)

    (found,) = check_sockets(Examined())

    assert found.outcome == outcome
    assert "is too long for a socket" in found.text


def test_a_folder_for_sockets_is_found(short_folder: Path) -> None:
    (found,) = check_sockets(Examined())

    assert (found.outcome, found.subject) == ("ok", str(short_folder / f"cosmos-venv-warm-{os.geteuid()}"))
