"""Under the directory's lock things only go out of sight: who waits for it need not wait for files to be deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.exceptions import VirtualenvBuildError
from tests.environments.elsewhere import USE, uses_of, within
from tests.kit import MakeReady, MakeSpec, StartPython, as_words

MUTE = "raise SystemExit('hello is mute')"


class Watching(list[str]):
    """Lines of a log that remembers what was there to be deleted when the lock was released."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._builds = directory / "envs-v2"
        self.at_release: list[str] = []

    def append(self, line: str) -> None:
        super().append(line)
        if line == "Releasing virtualenv lock":
            self.at_release = self.endings()

    def endings(self) -> list[str]:
        return sorted(path.name.partition("-")[2] for path in self._builds.iterdir())


def fail(make_ready: MakeReady, directory: Path, spec: EnvironmentSpec) -> Watching:
    watching = Watching(directory)
    with pytest.raises(VirtualenvBuildError, match="hello is mute"):
        make_ready(directory, spec, lines=watching)
    return watching


def test_a_build_that_failed_is_deleted_after_the_release(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    watching = fail(make_ready, tmp_path, make_spec(check=MUTE))

    assert len(watching.at_release) == 2  # the folder and its lease
    assert watching.endings() == []


def test_what_cannot_be_deleted_is_a_line_and_fails_no_task(
    tmp_path: Path, make_spec: MakeSpec, start_python: StartPython
) -> None:
    left = tmp_path / "store" / "envs-v2" / f"{'a' * 64}-{'7' * 8}"
    left.mkdir(parents=True)
    order = as_words(make_spec())
    # A folder on which something is mounted cannot be deleted, not even by root.
    place = within(setup=f"mount -t tmpfs tmpfs {left}")
    (used,) = uses_of(start_python(USE, tmp_path / "store", "uv", order, within=place))

    assert used.said == ["hello 2.0"]
    (line,) = [line for line in used.lines if "cannot be removed" in line]
    assert line.startswith(f"{left} is left over and cannot be removed: [Errno 16] ")
    assert used.lines.index(line) > used.lines.index("Releasing virtualenv lock")
