"""Real sdists, which have to be built before they are installed, with a build backend that does as the test says.

The sdist holds the orders for the backend: to wait, to fail, or to build. Each build is recorded.
"""

from __future__ import annotations

import fcntl
import gzip
import io
import json
import os
import signal
import tarfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.environments.wheel import Wheel, wheel_bytes
from pytest_cosmos_venv.errors import RecordList, ToolkitMisuse, require_count

TIMEOUT = 30.0
HOLD_TIMEOUT = 120.0
"""Seconds after which a held build gives up by itself, should its test be gone."""
# Seconds that a released build has to end by itself before it is killed.
_ENDS_SOON = 5.0
_PACKAGE = "cosmos_build"
# No requirements: an isolated build would ask an index for them.
_PYPROJECT = f"""\
[build-system]
requires = []
build-backend = "{_PACKAGE}.build_backend"
backend-path = ["."]
"""


@dataclass(frozen=True, kw_only=True)
class SourceBuild:
    """One run of the build hook of an sdist.

    :param pid: the process that builds, a child of the installer.
    :param started_at: seconds since the epoch.
    :param ended_at: seconds since the epoch; None while it runs and when it was killed.
    :param succeeded: whether the build succeeded; None as for ``ended_at``.
    """

    pid: int
    started_at: float
    ended_at: float | None
    succeeded: bool | None
    _record: Path

    @property
    def is_running(self) -> bool:
        """Whether the process that builds is still there, at the moment of asking."""
        with self._record.open("rb") as file:
            try:
                # The build holds an exclusive lock while its process lives. A PID does not suffice: it may belong to
                # another process by now.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def has_ended(self) -> bool:
        """Whether that process is gone."""
        return not self.is_running


@dataclass(frozen=True, kw_only=True)
class Sdist:
    """A package that its installer has to build, and the record of those builds.

    :param path: the file of the sdist.
    """

    path: Path
    _builds: Path

    @property
    def builds(self) -> list[SourceBuild]:
        """The runs of its build hook so far, the earliest first."""
        found = filter(None, map(_read_build, sorted(self._builds.glob("*.jsonl"))))
        return RecordList(
            found, of="builds", none=f"nobody has built {self.path.name}", word=lambda build: f"in process {build.pid}"
        )

    def wait_for_build(self, *, count: int = 1, timeout: float = TIMEOUT) -> SourceBuild:
        """Return a build as soon as it has begun.

        :param count: the number of builds to wait for; the last of these is returned.
        :param timeout: seconds to wait.
        :raises ToolkitMisuse: it has not begun by then.
        """
        require_count(count, "count")
        if not real_time.wait_until(lambda: len(self.builds) >= count, timeout):
            raise ToolkitMisuse(
                f"Nobody has begun to build {self.path.name} (number {count}) within {timeout:g} s: does an "
                "installed package require it, at this version?"
            )
        return self.builds[count - 1]

    def release(self) -> None:
        """Let its held builds go on, and also builds that come later."""
        # The folder may be missing: the first build makes it.
        self._builds.mkdir(parents=True, exist_ok=True)
        (self._builds / "released").touch()

    def close(self) -> None:
        """End the builds that still run."""
        self.release()
        for build in self.builds:
            if not real_time.wait_until(build.has_ended, _ENDS_SOON):
                with suppress(ProcessLookupError):  # it may have ended meanwhile
                    os.kill(build.pid, signal.SIGKILL)


def write_sdist(
    wheel: Wheel,
    folder: Path,
    *,
    builds: Path,
    fails_with: str | None = None,
    hold: bool = False,
    timeout: float = HOLD_TIMEOUT,
) -> Sdist:
    """Write an sdist that builds a wheel.

    :param wheel: the wheel that it builds.
    :param folder: an existing folder for the sdist.
    :param builds: the folder for the record of its builds; the first build makes it.
    :param fails_with: the last words of a build that fails; None: it succeeds.
    :param hold: whether a build waits for ``release()``.
    :param timeout: seconds after which a held build fails by itself.
    """
    told = {"filename": wheel.filename, "info_folder": wheel.info_folder, "info": wheel.info}
    orders = {"wheel": told, "builds": str(builds), "fails_with": fails_with, "hold": hold, "timeout": timeout}
    files = {
        "PKG-INFO": wheel.metadata.encode(),
        "pyproject.toml": _PYPROJECT.encode(),
        f"{_PACKAGE}/__init__.py": b"",
        f"{_PACKAGE}/build_backend.py": Path(__file__).with_name("build_backend.py").read_bytes(),
        f"{_PACKAGE}/orders.json": json.dumps(orders).encode(),
        f"{_PACKAGE}/{wheel.filename}": wheel_bytes(wheel),
    }
    path = folder / f"{wheel.stem}.tar.gz"
    path.write_bytes(_archive({f"{wheel.stem}/{name}": content for name, content in files.items()}))
    return Sdist(path=path, _builds=builds)


def _archive(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with (
        # Equal files make equal bytes: gzip would write the present time into its head.
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _read_build(record: Path) -> SourceBuild | None:
    events = {event["event"]: event for event in map(json.loads, record.read_text(encoding="utf-8").splitlines())}
    if "start" not in events:
        # The file has been made and its first line not yet written.
        return None
    # A build that was killed has no end.
    end = events.get("end", {})
    return SourceBuild(
        pid=events["start"]["pid"],
        started_at=events["start"]["at"],
        ended_at=end.get("at"),
        succeeded=end.get("succeeded"),
        _record=record,
    )
