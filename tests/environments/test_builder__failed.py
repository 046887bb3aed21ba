"""A failed build says why, publishes nothing, leaves nothing, and is in no later build's way."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cosmos_venv.environments.publisher import BuildRequest, open_environment
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import CommandKilled, VirtualenvBuildError
from cosmos_venv.processes.cancellation import Cancellation
from tests.kit import MakeReady, MakeSpec, WaitForBackend


def builds_of(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "envs-v2").iterdir())


@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_a_failing_installation_says_why_and_leaves_nothing(
    tmp_path: Path, make_spec: MakeSpec, preference: str, make_ready: MakeReady
) -> None:
    spec = make_spec("hello==9.0")

    with pytest.raises(VirtualenvBuildError, match=rf"(?s){preference} could not install hello==9\.0 .*hello==9\.0"):
        make_ready(tmp_path, spec, preference=preference)

    assert builds_of(tmp_path) == []
    assert not (tmp_path / "cosmos_virtualenv.lock").exists()
    assert EnvironmentStore(tmp_path).find(spec) is None


def test_an_environment_that_does_not_work_is_not_published(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    spec = make_spec("hello", check="raise SystemExit('hello is mute')")

    with pytest.raises(VirtualenvBuildError, match=r"(?s)installed but does not work.*hello is mute"):
        make_ready(tmp_path, spec)

    assert builds_of(tmp_path) == []


def test_what_dead_builders_left_is_removed_by_the_next(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    kept = make_ready(tmp_path, make_spec("hello==1.0"))
    leftover = tmp_path / "envs-v2" / f"{'a' * 64}-{'1' * 8}"
    (leftover / "lib").mkdir(parents=True)
    leftover.with_name(f"{leftover.name}.lease").touch()
    (tmp_path / ".cosmos_virtualenv.lock.left").touch()

    built = make_ready(tmp_path, make_spec("hello==2.0"))

    assert {name.partition(".")[0] for name in builds_of(tmp_path)} == {
        name for each in (kept, built) for name in (each.digest, each.path.name)
    }
    assert not (tmp_path / ".cosmos_virtualenv.lock.left").exists()


def test_a_request_to_end_while_installing_is_no_failure_and_leaves_nothing(
    tmp_path: Path, slow_spec: EnvironmentSpec, wait_for_backend: WaitForBackend
) -> None:
    backends: list[int] = []
    cancellation = Cancellation()

    def end_it_while_it_builds() -> None:
        backends.append(wait_for_backend())
        cancellation.request()

    threading.Thread(target=end_it_while_it_builds, daemon=True).start()
    with (
        pytest.raises(CommandKilled),
        open_environment(
            BuildRequest(store=EnvironmentStore(tmp_path / "store"), spec=slow_spec, preference="uv", max_tries=0),
            cancellation=cancellation,
            report=print,
        ),
    ):
        pytest.fail("it was to end")

    assert not Path(f"/proc/{backends[0]}").exists()
    assert builds_of(tmp_path / "store") == []
    assert not (tmp_path / "store" / "cosmos_virtualenv.lock").exists()


def test_what_a_tool_leaves_in_the_temporary_folder_goes_with_the_build(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pip that is killed leaves what it downloaded and built there, hundreds of megabytes at times."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)

    with pytest.raises(VirtualenvBuildError, match="installed but does not work"):
        make_ready(tmp_path / "store", make_spec(check="import sys, tempfile; sys.exit(tempfile.mkdtemp())"))

    assert not list((tmp_path / "temporary").iterdir())
