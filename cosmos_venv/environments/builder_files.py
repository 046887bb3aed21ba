"""Through which files do those who wait for a detached builder, and the builder, know of each other?"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cosmos_venv import own_files
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import VirtualenvBuildError
from cosmos_venv.kernel_lock import is_still, open_for_locking
from cosmos_venv.own_files import OddFile, age, read_own
from cosmos_venv.trust import judge, make_directory

RETRY_AFTER = 60.0
_KEPT_SECONDS = 14 * 86_400.0  # for whoever wants to read why a build failed
_OF_A_BUILDER = re.compile(r"\.?([0-9a-f]{64})\.(flock|pid|failed|log)(\.\d+)?")


@dataclass(frozen=True, kw_only=True)
class BuilderFiles:
    """The files through which callers and the builder of one digest know of each other.

    :param claim_file: locked while a builder is at work.
    :param pid_file: its process id; written when it began.
    :param failure: what went wrong the last time.
    """

    claim_file: Path
    pid_file: Path
    failure: Path
    log: Path

    @classmethod
    def of(cls, store: EnvironmentStore, digest: str) -> BuilderFiles:
        folder = _folder(store)
        for directory in (store.directory, store.root, folder):
            make_directory(directory, store.directory_mode)
        judge(folder, parameter=store.parameter)
        return cls._in(folder, digest)

    @classmethod
    def _in(cls, folder: Path, digest: str) -> BuilderFiles:
        return cls(
            claim_file=folder / f"{digest}.flock",
            pid_file=folder / f"{digest}.pid",
            failure=folder / f"{digest}.failed",
            log=folder / f"{digest}.log",
        )

    @contextmanager
    def claim(self) -> Iterator[int | None]:
        """The right to start a builder: a locked descriptor, which the builder inherits; None while one is at work."""
        descriptor = self._claimed()
        try:
            yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)  # never unlocked: the builder holds the same lock

    def _claimed(self) -> int | None:
        while True:
            descriptor = open_for_locking(self.claim_file)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if is_still(descriptor, self.claim_file):
                    return descriptor
            except BlockingIOError:
                os.close(descriptor)
                return None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # somebody swept it away before it was locked

    def raise_recent_failure(self) -> None:
        """Raises what the last builder said, unless that is long ago."""
        try:
            age = time.time() - self.failure.lstat().st_mtime
            message = read_own(self.failure).decode(errors="replace")
        except (FileNotFoundError, OddFile):
            return
        if 0 <= age < RETRY_AFTER:
            raise VirtualenvBuildError(f"{message}\n(Tried {age:.0f} s ago, again in {RETRY_AFTER - age:.0f} s.)")

    def clear(self) -> None:
        """Remove what earlier builders left: a file of another user could not be written anew."""
        for file in (self.pid_file, self.failure, self.log):
            own_files.remove(file)

    def leave_message(self, message: str) -> None:
        """Tell whoever asks next what went wrong."""
        apart = self.failure.with_name(f".{self.failure.name}.{os.getpid()}")
        try:
            own_files.make_way(self.failure)
            own_files.write_anew(apart, message)
            apart.replace(self.failure)
        except OSError:
            apart.unlink(missing_ok=True)
            raise

    def progress(self, what: str) -> str:
        """What a user reads whose parse may wait no longer."""
        try:
            seconds = time.time() - self.pid_file.lstat().st_mtime
            by = f"for {seconds:.0f} s by process {int(read_own(self.pid_file))}"
        except (OSError, ValueError):
            by = "by a process that has just started"
        return (
            f"The virtualenv for {what} is being built {by}, log file {self.log}; the next parse will find it. "
            "cosmos-venv env warm DAGFILE builds it beforehand."
        )

    def sweep(self) -> None:
        """Remove all of them, unless a builder is at work or was lately."""
        digest = self.claim_file.stem
        left = [path for path in self.claim_file.parent.glob(f"*{digest}.*") if _OF_A_BUILDER.fullmatch(path.name)]
        if min(age(path.lstat().st_mtime) for path in left) < _KEPT_SECONDS:
            return
        with self.claim() as claim:
            if claim is not None:
                # The claim goes last, and locked: whoever has opened it meanwhile sees that it is gone.
                for path in [*(path for path in left if path != self.claim_file), self.claim_file]:
                    own_files.remove(path)


def all_builder_files(store: EnvironmentStore) -> list[BuilderFiles]:
    """Those of every digest for which anything is left. Makes nothing."""
    folder = _folder(store)
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    digests = {match.group(1) for name in names if (match := _OF_A_BUILDER.fullmatch(name))}
    return [BuilderFiles._in(folder, digest) for digest in sorted(digests)]


def _folder(store: EnvironmentStore) -> Path:
    return store.root / "detached"
