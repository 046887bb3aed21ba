"""What ``cosmos-venv doctor`` says of a remote store: its settings, and what can be done there."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from cosmos_venv.cli import main
from cosmos_venv.cli.doctor import Examined, Finding, check_remote
from tests.remote_settings import KEY, Configure


def found() -> list[Finding]:
    return list(check_remote(Examined()))


def test_nothing_is_said_where_no_remote_is_configured() -> None:
    assert found() == []


def test_a_remote_that_can_be_used_is_left_as_it_was(
    remote: Path, key_file: Path, configure: Configure, capfd: pytest.CaptureFixture[str]
) -> None:
    configure(remote_key_file=key_file)

    code = main(["doctor", "--only", "remote", "--json"])

    printed = capfd.readouterr()
    (result,) = json.loads(printed.out)["findings"]
    assert (code, result["check"], result["outcome"], result["subject"]) == (0, "remote", "ok", f"file://{remote}")
    assert re.fullmatch(r"Files can be read, written and removed\.", result["text"]), result["text"]
    assert [path for path in remote.rglob("*") if path.is_file()] == []
    assert KEY not in printed.out + printed.err


def test_a_remote_that_is_only_read_is_not_written_to(remote: Path, key_file: Path, configure: Configure) -> None:
    configure(remote_environment_push=False, remote_key_file=key_file)

    (result,) = found()

    assert result.outcome == "ok"
    assert result.text == "Files can be read; remote_environment_push is off."
    assert not remote.exists()


def test_a_remote_that_takes_nothing_has_failed(remote: Path, key_file: Path, configure: Configure) -> None:
    configure(remote_key_file=key_file)
    remote.parent.write_text("a file stands here")

    (result,) = found()

    assert (result.outcome, result.subject) == ("failed", f"file://{remote}")
    assert re.match(r"A small file cannot be written, read or removed: \w+Error: .*\.$", result.text)
    assert "remote_environment_dir_conn_id" in result.way_out


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({}, "nothing says whose environments may be run here", id="no-key"),
        pytest.param(
            {"remote_key_conn_id": "missing"},
            "remote_environment_dir cannot be used: Airflow does not give the connection 'missing'",
            id="key",
        ),
    ],
)
def test_settings_that_do_not_fit_together_have_failed(
    configure: Configure, settings: dict[str, object], words: str
) -> None:
    configure(**settings)

    (result,) = found()

    assert (result.outcome, result.subject) == ("failed", "[cosmos_venv] remote_environment_dir")
    assert words in result.text
    assert "airflow connections add ID --conn-type generic --conn-password KEY" in result.way_out


@pytest.mark.usefixtures("remote")
def test_a_missing_zstandard_has_failed(key_file: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(remote_key_file=key_file)
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)

    (result,) = found()

    assert (result.outcome, "zstandard, which is missing: install cosmos-venv[remote]" in result.text) == (
        "failed",
        True,
    )
