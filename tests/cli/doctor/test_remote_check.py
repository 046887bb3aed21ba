"""What ``cosmos-venv doctor`` says of a remote store: what can be done there, how fast, and whether clocks agree."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import pytest

from cosmos_venv.cli import main
from cosmos_venv.cli.doctor.check_result import CheckResult, Examined
from cosmos_venv.cli.doctor.remote_check import Tried, judged, remote_can_be_used, skew_of
from tests.remote_settings import KEY, Configure

SPEED = r"\d+ ms a request, \d+\.\d MB/s up, \d+\.\d MB/s down"


def found() -> list[CheckResult]:
    return list(remote_can_be_used(Examined()))


def test_nothing_is_said_where_no_remote_is_configured() -> None:
    assert found() == []


def test_a_remote_that_can_be_used_is_measured_and_left_as_it_was(
    remote: Path, key_file: Path, configure: Configure, capfd: pytest.CaptureFixture[str]
) -> None:
    configure(remote_key_file=key_file)

    code = main(["doctor", "--only", "remote", "--json"])

    printed = capfd.readouterr()
    (result,) = json.loads(printed.out)["findings"]
    assert (code, result["check"], result["outcome"], result["subject"]) == (0, "remote", "ok", f"file://{remote}")
    said = rf"It can be read, written, listed and removed from: {SPEED}; the clocks agree\."
    assert re.fullmatch(said, result["text"]), result["text"]
    assert [path for path in remote.rglob("*") if path.is_file()] == []
    assert KEY not in printed.out + printed.err


@pytest.mark.parametrize(
    ("ahead", "words"),
    [(300.0, "s behind that of this machine"), (-300.0, "s ahead of that of this machine")],
)
@pytest.mark.usefixtures("remote")
def test_clocks_that_differ_are_a_warning_that_says_what_for(
    key_file: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch, ahead: float, words: str
) -> None:
    configure(remote_key_file=key_file)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + ahead)

    ok, warning = found()

    assert (ok.outcome, warning.outcome) == ("ok", "warning")
    assert "clocks agree" not in ok.text
    assert words in warning.text
    assert "--upgrade goes by the times at which machines have built" in warning.text


def test_a_remote_that_is_only_read_is_not_written_to(remote: Path, key_file: Path, configure: Configure) -> None:
    configure(remote_environment_push=False, remote_key_file=key_file)

    (result,) = found()

    assert result.outcome == "ok"
    assert re.match(r"It can be read and listed, \d+ ms a request\. Nothing is put there: ", result.text)
    assert not remote.exists()


def test_a_remote_that_takes_nothing_has_failed(remote: Path, key_file: Path, configure: Configure) -> None:
    configure(remote_key_file=key_file)
    remote.parent.write_text("a file stands here")

    (result,) = found()

    assert (result.outcome, result.subject) == ("failed", f"file://{remote}")
    assert re.match(r"It cannot be written to \(\w+Error: .*\)\. Tasks build for themselves\.$", result.text)
    assert "remote_environment_dir_conn_id" in result.way_out


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({}, "nothing says whose environments may be run here", id="neither-key-nor-lock"),
        pytest.param(
            {"remote_key_conn_id": "missing"},
            "There is no key: Airflow does not give the connection 'missing'",
            id="key",
        ),
        pytest.param({"remote_environment_lock": "/missing"}, "'/missing' cannot be read", id="lock"),
    ],
)
def test_settings_that_do_not_fit_together_have_failed(
    configure: Configure, settings: dict[str, object], words: str
) -> None:
    configure(**settings)

    (result,) = found()

    assert (result.outcome, result.subject) == ("failed", "[cosmos_venv] remote_environment_dir")
    assert words in result.text
    command = "airflow connections add missing --conn-type generic --conn-password KEY"
    assert (command in result.way_out) is ("remote_key_conn_id" in settings)


@pytest.mark.usefixtures("remote")
def test_a_key_file_that_does_nothing_and_a_missing_zstandard_are_warnings(
    key_file: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DBT_ENVIRONMENTS", f"generic://:{KEY.replace(' ', '%20')}@")
    configure(remote_key_conn_id="dbt_environments", remote_key_file=key_file)
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)

    of_file, of_zstandard, ok = found()

    assert (of_file.outcome, of_file.subject) == ("warning", "[cosmos_venv] remote_key_file")
    assert (of_zstandard.outcome, of_zstandard.way_out) == ("warning", "Install cosmos-venv[remote] on every worker.")
    assert ok.outcome == "ok"


@pytest.mark.parametrize(
    ("written", "skew"),
    [
        pytest.param(100.5, 0.0, id="between"),
        pytest.param(99.2, 0.0, id="without-the-fraction-of-its-second"),
        pytest.param(301.0, 200.0, id="ahead"),
        pytest.param(39.0, -60.0, id="behind"),
    ],
)
def test_clocks_are_compared_by_what_is_certain(written: float, skew: float) -> None:
    assert skew_of(100.0, 101.0, written) == skew


def test_a_store_that_is_too_slow_for_the_time_that_a_task_waits_is_a_warning() -> None:
    slow = list(judged("s3://dbt", Tried(request=0.02, up=2.0, down=0.5), timeout=60.0))
    fast = list(judged("s3://dbt", Tried(request=0.02, up=2.0, down=2.0), timeout=60.0))

    assert [each.outcome for each in slow] == ["ok", "warning"]
    assert "An environment of 60 MB takes 120 s, and a task waits 60 s at most." in slow[1].text
    assert [each.outcome for each in fast] == ["ok"]
