"""A small process that stands between a worker and one command, and lets nothing of it outlive the worker.

A Python without site-packages imports this file alone, in a session of its own, and calls ``main``. The file uses only
the standard library, for every Python, and as little of it as possible: each dbt command pays for its start.

A signal handler or a parent-death signal in the command itself is not enough for the guard's tasks:

* it is a *child subreaper* (Linux), so whatever the command leaves behind becomes its child and can be found;
* it holds the other end of the worker's control socket. On a word, or when the socket closes because the worker died,
  it ends every descendant: SIGINT (on which dbt cancels its queries), SIGTERM after 1 s, SIGKILL after 3 s;
* it keeps open the descriptors that it was given (leases on environments) until the last descendant is gone.

The worker sends the order on the control socket, once: eight bytes of length, then the order in the format of
``marshal``. The order has the words of the command, the environment, the working directory, whether an end begins with
SIGINT or with SIGTERM at once, and the bits that the umask must have. The descriptors to keep come beside the first
byte. The guard may wait for the order: a worker starts the guard early, and then prepares the command.

On the control socket the guard says ``exit N`` when the command has ended (negative: ended by that signal), or ``error
ERRNO`` when the command could not be started at all (``error ERRNO cwd``: no working directory).
"""

from __future__ import annotations

import marshal
import os
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
    from collections.abc import Callable, Iterable, Mapping
else:
    # ``signal`` and ``socket`` import enum and all that needs, as ``ctypes`` would below: without them the guard starts
    # twice as fast.
    import _signal as signal
    import _socket as socket

INTERRUPT_AT, TERMINATE_AT, KILL_AT = 0.0, 1.0, 3.0
LADDER = ((INTERRUPT_AT, signal.SIGINT), (TERMINATE_AT, signal.SIGTERM), (KILL_AT, signal.SIGKILL))
STOP = b"k"
LOOK_AGAIN = 0.05
PARENT_CHECK = 1.0
LENGTH_BYTES = 8
MOST_DESCRIPTORS = 253  # that Linux passes in one message
DESCRIPTOR_BYTES = 4

PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


class Ladder:
    """The signals that end a command, from SIGINT to SIGKILL, each at its time. Once begun they are all sent, whatever
    happens to the worker.

    :param first_step: seconds at which the ladder begins: ``INTERRUPT_AT`` or ``TERMINATE_AT``.
    """

    def __init__(self, first_step: float) -> None:
        self._began: float | None = None
        self._first_step = first_step
        self._steps = [step for step in LADDER if step[0] >= first_step]

    @property
    def has_begun(self) -> bool:
        """Whether the first signal was due."""
        return self._began is not None

    def begin(self) -> None:
        """Let the first signal be due now, and the others when their time has come."""
        if self._began is None:
            self._began = time.monotonic() - self._first_step

    def climb(self) -> None:
        """Send the signals that are due; from the last step on, send SIGKILL to all that is still found."""
        if self._began is None:
            return
        elapsed = time.monotonic() - self._began
        if elapsed >= KILL_AT:
            signal_descendants(signal.SIGKILL)
            return
        while self._steps and self._steps[0][0] <= elapsed:
            signal_descendants(self._steps.pop(0)[1])


def prctl(option: int, value: int) -> bool:
    """Call prctl(2). Return whether the kernel took it: False off Linux and where there is no C library to call.

    :param option: one of the ``PR_`` numbers.
    :param value: the second argument of prctl(2).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        from _ctypes import call_function, dlopen, dlsym

        this_program = dlopen(None, 0)  # type: ignore[arg-type] # as ctypes.CDLL(None) does
        return bool(call_function(dlsym(this_program, "prctl"), (option, value, 0, 0, 0)) == 0)
    except (ImportError, OSError):
        return False


def processes() -> dict[int, list[bytes]]:
    """Return all processes that this process may see, PID -> fields of ``stat_of`` (Linux; empty elsewhere)."""
    try:
        entries = os.listdir("/proc")  # noqa: PTH208 - pathlib would double the guard's start
    except OSError:
        return {}
    return {int(entry): fields for entry in entries if entry.isdigit() and (fields := stat_of(int(entry)))}


def stat_of(pid: int) -> list[bytes]:
    """Return what ``/proc/<pid>/stat`` says of a process behind its name: state, parent, group, session, and so on.

    :param pid: of the process.
    :returns: no fields when this process can see no process with this number.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123 - as above
            # "pid (name) state ppid": the name may hold blanks and brackets.
            return stat.read().rpartition(b")")[2].split()
    except OSError:
        return []


def descendants() -> list[int]:
    """Return the PIDs of all living processes below this process, the nearest first."""
    return below([os.getpid()], processes())


def below(ancestors: Iterable[int], found: Mapping[int, list[bytes]]) -> list[int]:
    """Return the PIDs of all processes below some processes, the nearest first.

    :param ancestors: PIDs of the processes.
    :param found: of ``processes``.
    """
    children: dict[int, list[int]] = {}
    for pid, fields in found.items():
        children.setdefault(int(fields[1]), []).append(pid)
    descended: list[int] = []
    todo = list(ancestors)
    while todo:
        nearest = children.pop(todo.pop(0), [])
        descended += nearest
        todo += nearest
    return descended


def signal_descendants(number: int) -> None:
    """Signal every process below this process; off Linux, where they cannot be listed, the whole group that this
    process leads.

    :param number: of the signal.
    """
    if not os.path.isdir("/proc/self"):  # noqa: PTH112 - as above
        os.killpg(0, number)
        return
    for pid in descendants():
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


class Order:
    """A command that the worker orders, with its environment and its working directory.

    :param text: as the module's docstring describes it.
    """

    def __init__(self, text: bytes) -> None:
        # The worker runs on the same Python, and nobody else has the connection.
        self.command, self.env, self.cwd, interrupts, self.umask = marshal.loads(text)  # noqa: S302
        self.first_step = INTERRUPT_AT if interrupts else TERMINATE_AT


def take_order(control: int, worker: int) -> Order | None:
    """Wait for the worker's order; return None when the worker is gone before it has given one.

    :param control: descriptor of the control socket.
    :param worker: PID of the worker.
    """
    while not readable([control], PARENT_CHECK):
        if os.getppid() != worker:
            return None
    text, _ = receive(control)
    return None if text is None else Order(text)


def receive(control: int) -> tuple[bytes | None, list[int]]:
    """Return the next message, None when it ends too early; and the descriptors beside it, open in this process and no
    other.

    :param control: descriptor of the control socket.
    """
    connection = socket.socket(fileno=control)
    try:
        space = socket.CMSG_SPACE(MOST_DESCRIPTORS * DESCRIPTOR_BYTES)
        received, handed_over, _, _ = connection.recvmsg(LENGTH_BYTES, space)
    finally:
        connection.detach()
    descriptors = [
        int.from_bytes(numbers[at : at + DESCRIPTOR_BYTES], sys.byteorder)
        for _, _, numbers in handed_over
        for at in range(0, len(numbers), DESCRIPTOR_BYTES)
    ]
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    length = read_exactly(control, LENGTH_BYTES - len(received), received) if received else None
    text = None if length is None else read_exactly(control, int.from_bytes(length, "big"))
    return text, descriptors


def read_exactly(descriptor: int, missing: int, text: bytes = b"") -> bytes | None:
    """Return ``text`` and the missing bytes, read from the descriptor; None when it ends before.

    :param descriptor: open for reading.
    :param missing: number of bytes to read.
    :param text: what was read before.
    """
    parts = [text]
    while missing:
        part = os.read(descriptor, missing)
        if not part:
            return None
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def start(order: Order, report: int) -> int:
    """Fork and exec the command with the signal dispositions of a plain subprocess.

    :param order: the command to start.
    :param report: descriptor on which the forked process says why the command could not be started.
    :returns: the PID of the command.
    :raises OSError: when no process can be forked.
    """
    me = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    what = ""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        # Should the guard itself be killed, dbt goes with it; the worker ends the rest of the session.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == me:
            os.umask(os.umask(0o077) | order.umask)
            if order.cwd:
                what = " cwd"
                os.chdir(order.cwd)
                what = ""
            os.execvpe(order.command[0], order.command, order.env)  # noqa: S606 - no shell is what is wanted
    except OSError as error:
        os.write(report, f"error {error.errno}{what}\n".encode())
    finally:
        os._exit(127)
    raise AssertionError("unreachable")  # pragma: no cover


def reap(child: int) -> tuple[bool, int | None]:
    """Collect all processes that have ended.

    :param child: PID of the command.
    :returns: whether anything is still below, and the command's exit status if it was among the ended (negative: ended
        by that signal).
    """
    status = None
    while True:
        try:
            pid, raw = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False, status
        if pid == 0:
            return True, status
        if pid == child:
            status = os.waitstatus_to_exitcode(raw)


def watch(child: int, control: int, wakeup: int, *, is_worker_gone: Callable[[], bool], ladder: Ladder) -> None:
    """Report the end of ``child`` on ``control``; end all that is below when told to, or when nobody listens.

    :param child: PID of the command.
    :param control: descriptor of the control socket.
    :param wakeup: descriptor that can be read from after a child has ended.
    :param is_worker_gone: asked now and then: a child that the worker forked may keep the connection open.
    :param ladder: the signals that end the command.
    """
    listening = [control]
    while True:
        anything_left, status = reap(child)
        if status is not None:
            send(control, f"exit {status}\n")
            ladder.begin()  # processes that the command left behind are ended too
        if not anything_left:
            return
        ladder.climb()
        pause = LOOK_AGAIN if ladder.has_begun else PARENT_CHECK
        ready = readable([*listening, wakeup], pause)
        if wakeup in ready:
            os.read(wakeup, 4096)
        if control in ready:
            if not read_word(control):
                listening = []  # closed: readable for ever, and nothing more will come
            ladder.begin()
        if is_worker_gone():
            ladder.begin()


def readable(descriptors: list[int], seconds: float | None) -> set[int]:
    """Return the descriptors that can be read from, as soon as there is one. poll and not select: select knows no
    descriptor above 1023.

    :param descriptors: open for reading.
    :param seconds: to wait for one at most; None: without an end.
    """
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in poll.poll(None if seconds is None else seconds * 1000)}


def send(control: int, text: str) -> None:
    """Send a text to the worker, if it still listens.

    :param control: descriptor of the control socket.
    :param text: one line, with its end.
    """
    try:
        os.write(control, text.encode())
    except OSError:
        pass  # the worker is dead; the command is ended all the same


def read_word(control: int) -> bool:
    """Read a word of the worker, and return whether there was one; False when the worker is gone.

    :param control: descriptor of the control socket.
    """
    try:
        return bool(os.read(control, 64))
    except OSError:
        return False


def stand_guard() -> tuple[int, int]:
    """Become the subreaper of all processes below, and ignore the signals that would end this process.

    :returns: the two ends of a pipe that tells of each child's end, the reading one first.
    """
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wakeup, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return wakeup, write_end


def main(arguments: list[str]) -> int:
    """Run the command that the worker orders and stay until nothing of it is left.

    :param arguments: descriptor of the control socket, PID of the worker.
    :returns: the exit status of the guard, 0.
    """
    control, worker = map(int, arguments)
    os.set_inheritable(control, False)
    wakeup, _ = stand_guard()

    order = take_order(control, worker)
    if order is None:
        return 0
    try:
        child = start(order, control)
    except OSError as error:  # no more processes: a container's pids limit, or the user's own
        send(control, f"error {error.errno}\n")
        return 0
    # Only the command may hold the pipe to the worker's log, or the worker would wait for the guard's end too.
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    ladder = Ladder(order.first_step)
    watch(child, control, wakeup, is_worker_gone=lambda: os.getppid() != worker, ladder=ladder)
    return 0
