"""Work in a process of its own, which outlives its caller: Airflow cuts the import of a DAG file after 30 s.

The callers and the process that works know of each other by files in one folder, each named after the key of the work.
The claim is a kernel lock that the process inherits. The lock ends with the process, in whatever way the process ends.
"""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from cosmos_venv import credentials
from cosmos_venv.files import own_files
from cosmos_venv.files.kernel_lock import FileToLock
from cosmos_venv.files.os_errors import reason_of
from cosmos_venv.files.own_files import age, open_own
from cosmos_venv.files.read_limits import read_plain
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.inherited_environment import inherited_environment

RETRY_AFTER = 60.0
"""Seconds during which failed work is not tried again; callers get the error of the last try."""

_KEPT_SECONDS = 14 * 86_400.0  # so that a user can read why the work failed
_FILE = re.compile(r"\.?([0-9a-f]{64})\.(flock|pid|failed|log)(\.\d+)?")
_TURN = 0.02
_WORD_EVERY = 10.0
_PRIVATE = 0o600
_LAST_BYTES = 4096
_LAST_LINES = 15  # a traceback and its exception

# Not -m: that looks for modules in the working directory first, where a user's random.py may lie. The package may not
# be installed, but only found by sys.path. The folder that holds it comes last: any other file may lie there too.
_START = (
    "import sys; sys.path[:] = [*filter(None, sys.path), sys.argv[1]]; "
    "from cosmos_venv.processes.detached_process import main; main(*sys.argv[2:])"
)


class DetachedFailure(Exception):
    """The work has failed, now or less than a minute ago. The text is what its process said."""


class DetachedStillRunning(Exception):
    """The process is still at work, and the caller's time to wait is over.

    The text says since when and by which process: "for 12 s by process 4711".
    """


@dataclass(frozen=True, kw_only=True)
class DetachedWork:
    """One piece of work that a process of its own does, known by a key.

    :param folder: of the files through which the callers and the process know of each other. It must exist, and only
        users whom this user trusts may write to it.
    :param key: 64 hexadecimal digits; equal for callers that ask for the same.
    """

    folder: Path
    key: str

    @property
    def claim_file(self) -> Path:
        """Locked while the process is at work."""
        return self.folder / f"{self.key}.flock"

    @property
    def pid_file(self) -> Path:
        """The process id; written when it began."""
        return self.folder / f"{self.key}.pid"

    @property
    def failure(self) -> Path:
        """The file with the error of the last run."""
        return self.folder / f"{self.key}.failed"

    @property
    def log(self) -> Path:
        """The file with the output of the process and of all that it has started."""
        return self.folder / f"{self.key}.log"

    def ensure_done(
        self,
        work: str,
        request: bytes,
        *,
        is_done: Callable[[], bool],
        wait: float | None,
        on_start: Callable[[], object],
        on_wait: Callable[[str], object] | None = None,
        keep_open: Sequence[int] = (),
    ) -> None:
        """Wait until the work is done. A separate process is started unless one is at work already.

        :param work: ``module:function`` of this package. The function takes ``request`` and a ``Cancellation``, which
            SIGTERM requests, and returns what went wrong, or an empty text.
        :param request: what the process is told. It travels by a pipe and is never written down: it may hold secrets.
        :param is_done: whether the result exists. This counts, not the exit of the process.
        :param wait: seconds to wait at most; None: until the process has ended.
        :param on_start: called when this call has started the process.
        :param on_wait: called every ten seconds if ``wait`` is None, with the time so far and the log's last line.
        :param keep_open: descriptors that the process holds open, under the same numbers.
        :raises DetachedStillRunning: when the time is over. The process goes on.
        :raises DetachedFailure: when the work has failed, now or less than a minute ago, or no process can be started.
            Also when the process has died and left no message: then the next call starts a new process.
        :raises OSError: when the files cannot be written.
        """
        began = time.monotonic()
        next_word = began + _WORD_EVERY
        has_started = False
        while True:
            with self.claim() as claim:
                if claim is not None:
                    if is_done():
                        return
                    if (failure := self.recent_failure()) is not None:
                        raise DetachedFailure(failure)
                    if has_started or self.pid_file.exists():
                        self.pid_file.unlink(missing_ok=True)
                        raise DetachedFailure(self._end_of_log())
                    claim.is_inherited = True
                    self._start(work, request, claim.descriptor, keep_open)
                    has_started = True
                    on_start()
            now = time.monotonic()
            if now >= began + (math.inf if wait is None else wait):
                raise DetachedStillRunning(self.progress())
            if now >= next_word:
                next_word += _WORD_EVERY
                if wait is None and on_wait is not None:
                    on_wait(f"{self.progress()}: {''.join(self._last_lines()[-1:]).strip()}")
            time.sleep(_TURN)

    @contextmanager
    def claim(self) -> Iterator[FileToLock | None]:
        """Yield the locked claim file, which a new process inherits; None while a process is at work."""
        with closing(FileToLock(self.claim_file)) as file:
            yield file if file.try_lock() else None

    def recent_failure(self) -> str | None:
        """Return the error of the last process, with its age; None where there is none, or it is too old to count."""
        try:
            seconds = time.time() - self.failure.lstat().st_mtime
            message = read_plain(self.failure).decode(errors="replace")
        except FileNotFoundError:
            return None
        if not 0 <= seconds < RETRY_AFTER:
            return None
        return f"{message}\n(Tried {seconds:.0f} s ago, again in {RETRY_AFTER - seconds:.0f} s.)"

    def clear(self) -> None:
        """Remove the files of earlier processes: a file of another user could not be overwritten."""
        for file in (self.pid_file, self.failure, self.log):
            file.unlink(missing_ok=True)
        own_files.sweep_abandoned(self.folder)

    def leave_message(self, message: str) -> None:
        """Tell the next caller what went wrong.

        :param message: the sentence.
        """
        with own_files.replace_atomically(self.failure) as apart:
            own_files.write_new(apart, message)

    def progress(self) -> str:
        """Return since when which process is at work: "for 12 s by process 4711"."""
        try:
            seconds = time.time() - self.pid_file.lstat().st_mtime
            return f"for {seconds:.0f} s by process {int(read_plain(self.pid_file))}"
        except (OSError, ValueError):
            return "by a process that has just started"

    def sweep(self) -> None:
        """Remove all of the files, unless a process is at work or was lately."""
        left = [path for path in self.folder.glob(f"*{self.key}.*") if _FILE.fullmatch(path.name)]
        try:
            if not left or min(age(path.lstat().st_mtime) for path in left) < _KEPT_SECONDS:
                return
        except FileNotFoundError:
            return  # another process sweeps too, or the work has begun again
        with self.claim() as claim:
            if claim is not None:
                # The claim file is removed last, and while it is locked: a process that has opened it meanwhile sees
                # that its name is gone.
                for path in [*(path for path in left if path != self.claim_file), self.claim_file]:
                    path.unlink(missing_ok=True)

    def _end_of_log(self) -> str:
        """The message about a process that has ended and has left none, with the last lines of its log."""
        lines = self._last_lines()
        if not lines:
            return f"The process was killed or could not start: it left no message, and its log {self.log} is empty."
        text = "\n".join(lines[-_LAST_LINES:])
        return f"The process ended before its work was done. The last lines of its log {self.log}:\n{text}"

    def _last_lines(self) -> list[str]:
        """The whole lines at the end of the log that are not empty, with credentials masked."""
        try:
            with open(open_own(self.log, os.O_RDONLY), "rb") as file:  # noqa: PTH123 - of a descriptor
                begin = max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES)
                file.seek(begin)
                text = file.read().decode("utf-8", errors="replace")
        except OSError:
            return []
        # Drop the first line, which may be cut: half of a password would not be recognised and masked.
        whole = text.partition("\n")[2] if begin else text
        return [line.rstrip() for line in credentials.mask(whole).split("\n") if line.strip()]

    def _start(self, work: str, request: bytes, claim: int, keep_open: Sequence[int]) -> None:
        """Start the process. It gets its request by a pipe: a credential in it is on no command line and no disk."""
        self.clear()
        package_root = Path(__file__).resolve().parents[2]
        log = open_own(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
        try:
            starter = subprocess.Popen(
                [sys.executable, "-c", _START, package_root, self.folder, self.key, str(claim), work],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[claim, *keep_open],
                start_new_session=True,
                env=inherited_environment(),
            )
        except OSError as error:
            raise DetachedFailure(f"{sys.executable!r} cannot be started: {reason_of(error)}") from error
        finally:
            os.close(log)
        assert starter.stdin is not None  # noqa: S101 - for the type checker: PIPE was asked for
        # If the process has ended already, the next turn of the loop in ensure_done reports its log.
        with starter, suppress(BrokenPipeError), starter.stdin as pipe:
            pipe.write(request)


def detached_works_in(folder: Path) -> list[DetachedWork]:
    """Return the works that have a file in the folder. No file is made.

    :param folder: of their files.
    """
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    keys = {match.group(1) for name in names if (match := _FILE.fullmatch(name))}
    return [DetachedWork(folder=folder, key=key) for key in sorted(keys)]


def main(folder: str, key: str, claim: str, work: str) -> None:
    """Become the process that works, and do what standard input asks for.

    The started process forks the process that works, and exits once the forked process has written its PID. The caller
    reaps the started process at once. The process that works is no child of the caller: a DAG processor that lives on
    gets no zombie. Nor is the process found by code that kills the children of a DAG processor.

    :param folder: of the files of the work.
    :param key: of the work.
    :param claim: the locked descriptor that says that a process is at work.
    :param work: as for ``DetachedWork.ensure_done``.
    """
    detached = DetachedWork(folder=Path(folder), key=key)
    is_noted, noting = os.pipe()
    if os.fork():
        os.close(noting)
        os.read(is_noted, 1)
        os._exit(0)
    os.setsid()
    own_files.write_new(detached.pid_file, str(os.getpid()))
    os.close(noting)
    # If commands inherited the claim, a command that is still dying would look like a process at work.
    os.set_inheritable(int(claim), False)
    cancellation = Cancellation()
    signal.signal(signal.SIGTERM, lambda *_: cancellation.request())
    request = sys.stdin.buffer.read()
    if request:  # else the caller has died before it wrote the request
        module, _, function = work.partition(":")
        if message := getattr(import_module(module), function)(request, cancellation):
            detached.leave_message(message)
            print(message, flush=True)  # last: its log may be on a full disk
    detached.pid_file.unlink(missing_ok=True)  # a PID file without a lock says that the process has died
