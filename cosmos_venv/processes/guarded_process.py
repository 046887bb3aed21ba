"""The worker's side of a guard: it is started, ordered, watched and stopped here.

``WatchedProcess`` and ``run_guarded`` also serve a warm dbt, which a keeper watches in the place of a guard.
"""

from __future__ import annotations

import marshal
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from cosmos_venv.exceptions import CommandKilled
from cosmos_venv.processes import guard
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.inherited_environment import inherited_environment

GUARD_FOLDER = str(Path(guard.__file__).parent)
"""The folder that a guard imports its module from. The import uses the cached byte code where it is current."""
_START = (
    "import os, sys; sys.path.insert(0, sys.argv[1]); import guard; del sys.path[0]; os._exit(guard.main(sys.argv[2:]))"
)
_END_DEADLINE = guard.KILL_AT + 2.0
_CHUNK = 65_536
# Killed processes are gone after some milliseconds. One that waits for a disk may need longer: nobody waits for that.
_LONGEST_END = 2.0
_LOOK_AGAIN = 0.005
_DEAD = (b"Z", b"X")
_SESSION, _STARTED = 3, 19  # fields of guard.stat_of

_ahead: ContextVar[list[StartedGuard] | None] = ContextVar("cosmos_venv_guard_ahead", default=None)


class StartedGuard:
    """A guard that waits for its command. It ends when this process ends, or closes it.

    ``control`` is the connection to it, ``output`` the pipe that its command will write to.

    :raises OSError: when it cannot be started.
    """

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _START, GUARD_FOLDER, str(theirs.fileno()), str(os.getpid())],
                # A task's descriptor 0 is Airflow 3's own request channel.
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                # Airflow 3.3 kills the task's process group; the guard must survive that to do its work.
                start_new_session=True,
                env=inherited_environment(),
            )
        except BaseException:
            self.control.close()
            raise
        finally:
            theirs.close()
        assert self.process.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
        self.output = self.process.stdout

    def order(self, text: bytes, keep_open: Sequence[int]) -> None:
        """Send the command to the guard. No error is raised when the guard has died.

        :param text: of ``order_text``.
        :param keep_open: descriptors that the guard holds until the last descendant is gone.
        """
        message = len(text).to_bytes(guard.LENGTH_BYTES, "big") + text
        # The descriptors go with the first bytes; an environment of many variables does not fit into one message.
        with suppress(BrokenPipeError, ConnectionResetError):
            sent = socket.send_fds(self.control, [message], list(keep_open))
            self.control.sendall(message[sent:])

    def close(self) -> None:
        """Let go of a guard that got no command: it ends."""
        self.process.kill()  # it has started nothing yet
        self.control.close()
        self.output.close()
        self.process.wait()


def order_text(
    argv: Sequence[str], env: Mapping[str, str] | None, cwd: str | Path | None, *, interrupts: bool, umask: int
) -> bytes:
    """Return the order for a command, in the format that ``guard.Order`` reads.

    :param argv: the command and its words.
    :param env: the whole environment of the command; None: ``inherited_environment``.
    :param cwd: working directory of the command; None: that of this process.
    :param interrupts: whether ending the command begins with SIGINT, or with SIGTERM at once.
    :param umask: bits that are added to the umask of the command.
    :raises ValueError: when a text has a null byte in it.
    """
    variables = inherited_environment() if env is None else env
    words = [os.fsencode(word) for word in argv]
    encoded = {os.fsencode(name): os.fsencode(value) for name, value in variables.items()}
    place = os.fsencode(cwd or "")
    for text in (place, *words, *encoded, *encoded.values()):
        if b"\0" in text:
            raise ValueError(f"embedded null byte in {os.fsdecode(text)!r}")
    return marshal.dumps((words, encoded, place, interrupts, umask))


@contextmanager
def prestarted_guard(is_wanted: bool = True) -> Iterator[None]:
    """Start a guard before the first command of this block asks for it. A guard without a command ends with the block.

    A guard takes some 20 ms until it listens: meanwhile the caller prepares what the command needs.

    :param is_wanted: False where the command will start without a guard.
    """
    waiting: list[StartedGuard] = []
    token = _ahead.set(waiting)
    try:
        if is_wanted:
            with suppress(OSError):  # the command starts a guard itself then, and gets the error
                waiting.append(StartedGuard())
        yield
    finally:
        _ahead.reset(token)
        for started in waiting:
            started.close()


@dataclass(frozen=True, kw_only=True)
class CompletedCommand:
    """The exit status of a command (negative: ended by that signal) and the lines that it wrote.

    :param returncode: exit status.
    :param lines: of stdout and stderr in order, without their ends.
    """

    returncode: int
    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Session:
    """The session that a guard or a keeper leads, with the processes that are left behind when the guard is killed.

    Each process below a guard is of its session unless it has made a session of its own. While a process of a session
    lives, the kernel gives the PID of its leader to no new process. So when a process with that PID has another start
    time, nothing of the session is left.

    :param leader: PID of the guard.
    :param started: when it started, in ticks since the machine started; None off Linux, or when it was gone.
    """

    leader: int
    started: int | None

    @classmethod
    def of(cls, leader: int) -> Session:
        """Return the session of a process that leads one.

        :param leader: PID of that process.
        """
        fields = guard.stat_of(leader)
        return cls(leader=leader, started=int(fields[_STARTED]) if fields else None)

    def end(self, *, output: int | None = None) -> None:
        """Kill what is left of the command, and wait until it is gone, at most two seconds.

        Call it only in the parent of the leader, or in a process that has just lost its connection to the leader: there
        the PID is still the leader's.

        :param output: a pipe from which this process reads. Other processes that have it open are killed too.
        """
        deadline = time.monotonic() + _LONGEST_END
        while self.kill(output=output) and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN)

    def kill(self, *, output: int | None = None) -> bool:
        """Kill what is left of the command once, without waiting: safe in a signal handler.

        :param output: as for ``end``.
        :returns: whether anything was left.
        """
        # Listed anew at each call: what is killed may start another process before it dies.
        processes = guard.processes()
        if not processes:  # off Linux, where a session cannot be listed
            with suppress(OSError):
                os.killpg(self.leader, signal.SIGKILL)
            return False
        found = set()
        leader = processes.get(self.leader)
        if leader is None or int(leader[_STARTED]) == self.started:
            found = {pid for pid, fields in processes.items() if int(fields[_SESSION]) == self.leader}
        if output is not None:
            pipe = os.fstat(output)
            # A process that this one has forked may have inherited the pipe.
            others = processes.keys() - found - {os.getpid(), *guard.below([os.getpid()], processes)}
            found |= {pid for pid in others if has_open(pid, pipe)}
        # A zombie keeps its number until its parent has collected it; nothing of it can be killed any more.
        living = [pid for pid in {*found, *guard.below(found, processes)} if processes[pid][0] not in _DEAD]
        for pid in living:
            with suppress(ProcessLookupError, PermissionError):  # it has just ended, or has become another user's
                os.kill(pid, signal.SIGKILL)
        return bool(living)


def has_open(pid: int, file: os.stat_result) -> bool:
    """Return whether a process has a file or pipe open; False off Linux, and where this process may not look.

    :param pid: of the process.
    :param file: status of the file or pipe.
    """
    with suppress(OSError):  # it has ended, or is another user's
        for opened in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if os.path.samestat(opened.stat(), file):
                    return True
    return False


class WatchedProcess:
    """The worker's view of one command, which runs below a process that watches it.

    :param name: of the command, for messages.
    :param leader: PID of the process that watches; it leads the command's session.
    :param control: the connection to that process.
    :param output: the pipe that the command writes to.
    :param cwd: working directory of the command, for messages; None: that of this process.
    """

    def __init__(
        self, name: str, *, leader: int, control: socket.socket, output: IO[bytes], cwd: str | Path | None = None
    ) -> None:
        self._name = name
        self._session = Session.of(leader)
        self._control = control
        self.output = output
        self._cwd = cwd
        self._heard = b""
        self._status: int | None = None
        self._error: OSError | None = None
        self._is_watched = True

    def stop(self) -> None:
        """Begin the ladder SIGINT, SIGTERM, SIGKILL and return. May be called again, and from a signal handler."""
        try:
            self._control.send(guard.STOP)
        except OSError:  # the process that watches has ended, with its command or without
            if not self._has_ended:
                self._session.kill()

    def lines(self, on_tick: Callable[[], None] | None = None, tick: float = 1.0) -> Iterator[bytearray]:
        """Yield the lines of the output as they come, until its end or until nobody watches over the command any more.

        A child that the command leaves may keep the output open for ever. So when the process that watches was killed,
        its session is ended here. The caller owns each line and may clear it: a line can have many megabytes.

        :param on_tick: called between the lines, and while none comes.
        :param tick: seconds between two calls of ``on_tick``.
        """
        line = bytearray()
        next_tick = time.monotonic() + tick
        while True:
            pause = None if on_tick is None else max(next_tick - time.monotonic(), 0.0)
            if on_tick is not None and not pause:
                on_tick()
                next_tick = time.monotonic() + tick
                continue
            more = self._more_output(pause)
            if more is None:
                continue
            if not more:
                break
            first, *others = more.split(b"\n")
            line += first
            for each in others:
                line += b"\n"
                yield line
                line = bytearray(each)
        if line:
            yield line

    def _more_output(self, pause: float | None) -> bytes | None:
        """The new output of the command; empty when no more will come, None when more may come.

        :param pause: seconds to wait for it; None: as long as it takes.
        """
        output = self.output.fileno()
        if self._is_watched:
            ready = guard.readable([output, self._control.fileno()], pause)
            if output in ready:
                return os.read(output, _CHUNK)
            if ready:
                self._listen()
            return None
        # The processes of the guard have ended. Another process that has the output open is not waited for.
        return os.read(output, _CHUNK) if guard.readable([output], 0) else b""

    def wait(self) -> int:
        """Return the command's exit status, as subprocess gives it.

        :raises OSError: when the command could not be started.
        :raises CommandKilled: when the process that watches was killed, so that the status is not known.
        """
        while not self._has_ended:
            if not self._is_watched:
                raise CommandKilled(f"The guard of {self._name} was killed; its command was ended.")
            self._listen()
        if self._error is not None:
            raise self._error
        assert self._status is not None  # noqa: S101 - for the type checker: it has ended
        return self._status

    @property
    def _has_ended(self) -> bool:
        """Whether the process that watches has reported the end of the command."""
        return self._status is not None or self._error is not None

    def _listen(self) -> None:
        """Read the next message of the process that watches. When the connection ends without a report of the command's
        end, the process was killed: then its session is ended."""
        try:
            more = self._control.recv(4096)
        except ConnectionResetError:  # it died before it read our message
            more = b""
        *lines, self._heard = (self._heard + more).split(b"\n")
        for line in lines:
            word, number, *where = line.decode("ascii").split()
            if word == "exit":
                self._status = int(number)
            elif word == "error":
                code = int(number)
                self._error = OSError(code, os.strerror(code), str(self._cwd) if where else self._name)
        if not more:
            self._is_watched = False
            if not self._has_ended:
                self._session.end(output=self.output.fileno())

    def close(self, *, within: float = _END_DEADLINE) -> None:
        """End what still runs, wait for its end, and close the connection.

        :param within: seconds to wait at most; the ladder's whole length, or less for a command that does no harm while
            it still runs.
        """
        self.stop()
        self.output.close()
        # A process in uninterruptible sleep cannot be waited for; the guard stays with it.
        if self._leader_ends(within=within):
            self._collect()
        self._control.close()

    def _collect(self) -> None:
        """Called when the process that watches has ended."""

    def _leader_ends(self, *, within: float) -> bool:
        """Whether the guard or keeper closes its end of the connection in time.

        Popen.wait with a timeout would poll and sleep.
        """
        deadline = time.monotonic() + within
        try:
            while (left := deadline - time.monotonic()) > 0:
                self._control.settimeout(left)
                if not self._control.recv(4096):
                    return True
        except TimeoutError:
            return False
        except OSError:  # closed before, or it died before it read our message
            return True
        return False


class GuardedProcess(WatchedProcess):
    """One running command under a guard.

    :param argv: the command; element 0 is looked up on the PATH of ``env`` when it holds no slash.
    :param env: its whole environment; None: ``inherited_environment``.
    :param cwd: its working directory.
    :param keep_open: descriptors that the guard holds until the last descendant is gone (leases).
    :param interrupts: whether ``stop`` begins with SIGINT, or with SIGTERM at once.
    :param umask: bits that are added to the umask of the command; the umask of this process stays as it is.
    :raises OSError: when the command cannot be started, with its name and the reason.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        keep_open: Sequence[int] = (),
        interrupts: bool = True,
        umask: int = 0,
    ) -> None:
        ahead = _ahead.get()  # the guard of prestarted_guard, once
        started = ahead.pop() if ahead else StartedGuard()
        leader = started.process.pid
        super().__init__(str(argv[0]), leader=leader, control=started.control, output=started.output, cwd=cwd)
        self._guard = started.process
        self._has_order = False
        try:
            started.order(order_text(argv, env, cwd, interrupts=interrupts, umask=umask), keep_open)
            self._has_order = True
        except BaseException:  # a signal's, or an argument that is no text
            self.close()
            raise

    def stop(self) -> None:
        """Begin the ladder; before the order is given, end the guard."""
        if self._has_order:
            super().stop()
        else:  # a word in the middle of the order would be part of it
            self._control.shutdown(socket.SHUT_WR)

    def _collect(self) -> None:
        self._guard.wait()


def run_guarded(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    keep_open: Sequence[int] = (),
    on_line: Callable[[str], None] | None = None,
    on_tick: Callable[[], None] | None = None,
    tick: float = 1.0,
    cancellation: Cancellation | None = None,
    encoding: str = "utf-8",
    interrupts: bool = True,
    launcher: Callable[..., WatchedProcess] = GuardedProcess,
    most_kept: int | None = None,
) -> CompletedCommand:
    """Run a command to its end; each line of its output (stdout and stderr in order) goes to ``on_line`` as it comes.

    :param argv: the command; element 0 is looked up on the PATH of ``env`` when it holds no slash.
    :param env: its whole environment; None: ``inherited_environment``.
    :param cwd: its working directory; None: that of this process.
    :param keep_open: descriptors that the guard holds until the last descendant is gone.
    :param on_line: takes a line without its end.
    :param on_tick: called every ``tick`` seconds while the command runs, whether it says something or not. An exception
        of this function ends the command.
    :param tick: seconds between two calls of ``on_tick``.
    :param cancellation: a request ends the command.
    :param encoding: of the output; what does not decode becomes backslash escapes.
    :param interrupts: whether a stop begins with SIGINT, or with SIGTERM at once.
    :param launcher: starts it; takes what ``GuardedProcess`` takes.
    :param most_kept: characters of the last lines that the result has; None: it has all lines.
    :raises OSError: when the command cannot be started.
    :raises CommandKilled: when ``cancellation`` was requested; the command and all below it are gone by then.
    """
    cancellation = cancellation or Cancellation()
    cancellation.raise_if_requested()
    lines: deque[str] = deque()
    kept = 0
    started = launcher(argv, env=env, cwd=cwd, keep_open=keep_open, interrupts=interrupts)
    with closing(started) as process, cancellation.stopping(process.stop):
        for raw in process.lines(on_tick, tick):
            while raw.endswith((b"\r", b"\n")):
                del raw[-1]
            line = raw.decode(encoding, errors="backslashreplace")
            raw.clear()
            lines.append(line)
            kept += len(line)
            while most_kept is not None and kept > most_kept and len(lines) > 1:
                kept -= len(lines.popleft())
            if on_line is not None:
                on_line(line)
        returncode = process.wait()
    cancellation.raise_if_requested()
    return CompletedCommand(returncode=returncode, lines=[*lines])
