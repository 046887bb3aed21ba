"""The script of the fake dbt and the record of its calls; one folder holds both, for every call that finds it."""

from __future__ import annotations

import json
import signal
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.errors import RecordList, ToolkitMisuse, require_count
from pytest_cosmos_venv.fake_dbt import RECORD_VARIABLE, is_native, native_script
from pytest_cosmos_venv.fake_dbt.command_line import Invocation
from pytest_cosmos_venv.fake_dbt.record import KEPT_VARIABLES_FILE
from pytest_cosmos_venv.fake_dbt.rules import Artifact, NodeOutcome, Rule, check_command, read_line
from pytest_cosmos_venv.fake_dbt.whole_writes import read_lines, write_whole
from pytest_cosmos_venv.recordings.recording import Recording, read_recording
from pytest_cosmos_venv.throwaway import folder_lock

if TYPE_CHECKING:
    import psutil

TIMEOUT = 30.0
_LOOK_AGAIN = 0.005
_REAPED_SOON = 1.0
_SCRIPT = "script.json"
_NO_COMMAND = ""
"""A command that no call has."""


@dataclass(frozen=True)
class _Variables(Mapping[str, str]):
    """The environment variables of a call.

    Reading a value that was not recorded raises: otherwise a test that looks for a leaked password would pass without
    seeing any value.
    """

    _values: Mapping[str, str | None] = field(repr=False)

    def __getitem__(self, name: str) -> str:
        value = self._values[name]
        if value is None:
            raise ToolkitMisuse(
                f"The value of {name} is not on record, because it may be a secret of this machine. Before dbt is "
                f"called, say .keep_env({name!r}) of the fixture that has these calls, or .keep_env('*') for all."
            )
        return value

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@dataclass(frozen=True, kw_only=True)
class DbtCall:
    """One call of the fake dbt.

    :param argv: its command line; element 0 is the path of the console script.
    :param cwd: the directory in which it ran.
    :param env: its environment variables. Variables whose names look like secrets are recorded without values, unless
        ``keep_env`` names them. Failure messages show no values.
    :param pid: the id of its process.
    :param prefix: the environment whose Python ran it.
    :param dbt_version: the version that the fake said of itself.
    :param started_at: seconds since the epoch.
    :param ended_at: seconds since the epoch; None while it runs and when it was killed.
    :param exit_code: the exit code; None as for ``ended_at``.
    :param ppid: the id of the process that started it.
    :param stdin: the input that could be read at once, up to 64 KiB; None where it was a terminal or closed.
    :param child_pid: the id of the child that it was scripted to fork; None: it had none.
    :param signals: names of the signals that it received, in order: ``("SIGINT", "SIGTERM")``.
    :param held_at: seconds since the epoch when it began to wait for ``release()``; None where it did not.
    :param nodes: unique id -> status of every node that ended, in their order; those that ended before a kill too.
    :param misuse: the part of its script that does not fit its project; such a call ends with 2, and fails its test.
    :param unread: the parts of the project that the fake cannot read, such as metrics.
    """

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(repr=False)
    pid: int
    prefix: Path
    dbt_version: str
    started_at: float
    ended_at: float | None
    exit_code: int | None
    ppid: int = 0
    stdin: str | None = None
    child_pid: int | None = None
    signals: tuple[str, ...] = ()
    held_at: float | None = None
    nodes: Mapping[str, str] = field(default_factory=dict)
    misuse: str | None = None
    unread: tuple[str, ...] = ()

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command line without the executable."""
        return self.argv[1:]

    @property
    def words(self) -> tuple[str, ...]:
        """The words that are neither options nor their values: ``("run-operation", "grant")``; none where dbt would
        refuse the line.
        """
        return () if self._line is None else tuple(self._line.words)

    def option(self, *names: str) -> str | None:
        """Return the value of an option under any of its names, whether it is spelt ``--target dev`` or
        ``--target=dev``.

        :param *names: names of the option, such as ``"--target"``, ``"-t"``.
        :returns: the last value where it stands several times, as dbt takes it; None where it is not there, has no
            value, or dbt would have refused the command line.
        """
        values = [] if self._line is None else self._line.all(*names)
        return values[-1] if values else None

    @property
    def command(self) -> str | None:
        """The command: ``run``, ``docs generate``, ``--version``, ...; None where dbt would have refused the command
        line.
        """
        return None if self._line is None else self._line.command

    @cached_property
    def _line(self) -> Invocation | None:
        return read_line(self.arguments, self.dbt_version)


def read_dbt_calls(folder: Path) -> list[DbtCall]:
    """Return every call on record in a folder, the earliest first; none where the folder does not exist.

    :param folder: the folder of a record.
    """
    calls = [_read_call(file) for file in sorted(folder.glob("*.jsonl"))]
    found = sorted((call for call in calls if call is not None), key=lambda call: call.started_at)
    return RecordList(
        found, of="calls", none="dbt was not called", word=lambda call: " ".join(("dbt", *call.arguments))
    )


def _read_call(file: Path) -> DbtCall | None:
    events = read_lines(file)
    by_name = {event["event"]: event for event in events}
    start = by_name.get("start")
    if start is None:
        # The file has been made and its first line not yet written.
        return None
    end = by_name.get("end", {})
    return DbtCall(
        argv=tuple(start["argv"]),
        cwd=Path(start["cwd"]),
        env=_Variables(start["env"]),
        pid=start["pid"],
        ppid=start["ppid"],
        prefix=Path(start["prefix"]),
        dbt_version=start["dbt_version"],
        stdin=start["stdin"],
        child_pid=by_name.get("child", {}).get("pid"),
        signals=tuple(event["name"] for event in events if event["event"] == "signal"),
        started_at=start["at"],
        held_at=by_name.get("held", {}).get("at"),
        ended_at=end.get("at"),
        exit_code=end.get("exit_code"),
        nodes={event["unique_id"]: event["status"] for event in events if event["event"] == "node"},
        misuse=by_name.get("misuse", {}).get("message"),
        unread=tuple(by_name.get("unread", {}).get("parts", ())),
    )


@dataclass(frozen=True, kw_only=True)
class HeldCalls:
    """The calls that a rule with ``hold=True`` stops in the middle of their work."""

    _flag: Path
    _take_back: Callable[[], None]

    def release(self) -> None:
        """Let the held calls go on, and also calls that come later."""
        self._flag.touch()

    def take_back(self) -> None:
        """Disable the rule for calls that begin from now on; earlier rules apply again."""
        self._take_back()


@dataclass(frozen=True)
class ScriptedDbt:
    """The script and the record of every fake ``dbt`` that is led to a folder.

    :param folder: the folder; made by the first script or the first call.
    """

    folder: Path
    _refused: set[str] = field(init=False, default_factory=set, repr=False, compare=False)

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that lead a fake here, in any environment that it is installed in."""
        return {RECORD_VARIABLE: str(self.folder)}

    @property
    def calls(self) -> list[DbtCall]:
        """The calls on record, the earliest first."""
        return read_dbt_calls(self.folder)

    def script(
        self,
        command: str | None = None,
        *,
        nth: int | None = None,
        select: str | None = None,
        exit_code: int | None = None,
        stdout: Sequence[str] | None = None,
        stderr: Sequence[str] = (),
        nodes: Mapping[str, str | NodeOutcome] | None = None,
        artifacts: Mapping[str, Artifact] | None = None,
        at: str | None = None,
        after: str | None = None,
        delay: float | None = None,
        hold: bool = False,
        ignore_signals: Collection[signal.Signals] = (),
        child: bool = False,
        crash: signal.Signals | None = None,
    ) -> HeldCalls:
        """Script the calls that begin from now on. Where several scripts match a call, the last one counts.

        ``command``, ``nth`` and ``select`` choose the calls; the other parameters say what these calls do. By default a
        call does what a successful dbt does.

        :param command: the command as dbt spells it: ``run``, ``docs generate``, ``--version``. Default: every call.
        :param nth: only the call of this number (from 1) among the calls that match ``command`` and ``select``. The
            count begins with the first script that has ``nth`` for them.
        :param select: only calls that select this node, by its name, or with these very words (``tag:daily``).
        :param exit_code: 1 fails every node whose upstream nodes have not failed. 2 or more: the call ends without
            artifacts, like a dbt that cannot start (for 2, a dbt 2 ends with 1).
        :param stdout: lines to print instead of dbt's own.
        :param stderr: lines to print to stderr; dbt itself prints none there.
        :param nodes: name or unique id -> status (``error``, ``fail``, ``warn``, ``skipped``, ...), or a
            ``NodeOutcome`` with a message and a number of failures. An id that the project's files do not define is
            added, such as a test.
        :param artifacts: ``run_results.json``, ``manifest.json`` or ``sources.json`` -> content; text is written as it
            is, None leaves the file out.
        :param at: name or unique id of the node during which ``delay``, ``hold`` or ``crash`` happens. Default: the
            first node.
        :param after: the same, but between the end of this node and the beginning of the next.
        :param delay: seconds to work on the node.
        :param hold: whether to work on the node until ``release()``.
        :param ignore_signals: signals that the call only records.
        :param child: whether to fork a child that stays until it is killed; its id is ``DbtCall.child_pid``.
        :param crash: the signal by which to die while working on the node.
        :returns: the calls that are held, for ``release()``.
        :raises ToolkitMisuse: the script contradicts itself, or has a word that dbt does not know.
        """
        rule = Rule(
            command=command,
            nth=nth,
            select=select,
            exit_code=exit_code,
            stdout=stdout,
            stderr=stderr,
            nodes=nodes or {},
            artifacts=artifacts or {},
            at=at,
            after=after,
            delay=delay,
            hold=hold,
            ignore_signals=tuple(ignore_signals),
            child=child,
            crash=crash,
        )
        return self._add(rule)

    def replay(self, recording: Recording | Path | str) -> None:
        """Answer the calls that begin from now on from a recording.

        A recorded command is repeated with its output, artifacts and exit code. A call for some nodes of a recorded
        command gets the recorded results of these nodes. Any other call ends with 2 and fails its test, with a list of
        the recorded commands; ``deps``, ``debug``, ``clean`` and ``--version`` are always answered.

        A later script has priority over the recording. A script with ``nodes`` changes the results of these nodes only.

        :param recording: the recording, or its folder.
        :raises ToolkitMisuse: there is no such recording.
        """
        read = recording if isinstance(recording, Recording) else read_recording(recording)
        with self._changing_rules() as rules:
            rules.append(Rule(recording=str(read.path.absolute())).as_json())

    def keep_env(self, *names: str) -> None:
        """Keep the values of these environment variables in the calls that begin from now on, also where they look like
        secrets: ``keep_env("POSTGRES_PASSWORD")``, then ``calls[0].env["POSTGRES_PASSWORD"]``.

        The values stand in a file that only this user can read, in the folder of the test.

        :param *names: names, or patterns such as ``"POSTGRES_*"``; ``"*"`` keeps all.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / KEPT_VARIABLES_FILE).open("a", encoding="utf-8") as file:
            file.write("".join(f"{name}\n" for name in names))

    def release(self) -> None:
        """Let every held call go on."""
        for number in range(len(self._rules())):
            self._flag(number).touch()

    def forget(self) -> None:
        """Forget all calls; ``nth`` counts anew. The scripts stay."""
        for file in self.folder.glob("met-*"):
            file.unlink(missing_ok=True)
        # Moved, not deleted: calls that still run have to end with the test.
        self._forgotten.mkdir(parents=True, exist_ok=True)
        for file in self.folder.glob("*.jsonl"):
            file.replace(self._forgotten / file.name)

    def wait_for_call(
        self, command: str | None = None, *, count: int = 1, held: bool = False, timeout: float = TIMEOUT
    ) -> DbtCall:
        """Return a call as soon as it has begun.

        :param command: only calls of this command. Default: all.
        :param count: the number of calls to wait for; the last of these is returned.
        :param held: whether to wait until the call is held; by then its output so far is written.
        :param timeout: seconds to wait.
        :raises ToolkitMisuse: no such call has begun by then (the text lists the calls); or dbt has no such command.
        """
        what = "been held" if held else "begun"
        return self._wait(command, count, timeout, what, lambda call: not held or call.held_at is not None)

    def wait_for_end(self, command: str | None = None, *, count: int = 1, timeout: float = TIMEOUT) -> DbtCall:
        """Return a call as soon as it has ended; ``ended_at`` is None when it was killed.

        :param command: only calls of this command. Default: all.
        :param count: the number of calls to wait for; the last of these is returned.
        :param timeout: seconds to wait.
        :raises ToolkitMisuse: it has not ended by then; or dbt has no such command.
        """
        return self._wait(
            command, count, timeout, "ended", lambda call: call.ended_at is not None or not _process(call, call.pid)
        )

    def refuse_misuse(self) -> None:
        """Refuse a script that names a node which the project of a call lacks. Each script is refused once.

        The code under test may take exit code 2 of the call for the failure that it expects.

        :raises ToolkitMisuse: a script names such a node.
        """
        self._refuse_misuse_of(self._all_calls())

    def _refuse_misuse_of(self, calls: Sequence[DbtCall]) -> None:
        for call in calls:
            if call.misuse is not None and call.misuse not in self._refused:
                self._refused.add(call.misuse)
                raise ToolkitMisuse(f"dbt was scripted what cannot be: {call.misuse}")

    def close(self) -> None:
        """Kill the calls that still run, including forgotten calls, and their children.

        One warning names what the fake could not read in the projects of the calls.

        :raises ToolkitMisuse: afterwards, as ``refuse_misuse``.
        """
        calls = self._all_calls()
        for call in calls:
            for pid in (call.pid, call.child_pid):
                process = _process(call, pid)
                if process is not None:
                    _kill(process)
        self._refuse_misuse_of(calls)
        unread = list(dict.fromkeys(part for call in calls for part in call.unread))
        if unread:
            text = (
                f"The fake dbt cannot read {'; '.join(unread)}. Nodes and references from there are missing in the DAG "
                "of this test. Load the DAG from a manifest of the real dbt, or add nodes by their unique ids: "
                "script(nodes={...})."
            )
            warnings.warn(text, pytest.PytestWarning, stacklevel=2)

    def _all_calls(self) -> list[DbtCall]:
        return [*read_dbt_calls(self._forgotten), *self.calls]

    @property
    def _forgotten(self) -> Path:
        return self.folder / "forgotten"

    def _add(self, rule: Rule) -> HeldCalls:
        with self._changing_rules() as rules:
            rules.append(rule.as_json())
        number = len(rules) - 1
        return HeldCalls(_flag=self._flag(number), _take_back=lambda: self._take_back(number))

    def _take_back(self, number: int) -> None:
        with self._changing_rules() as rules:
            # The rule keeps its place, since calls refer to the other rules by number.
            rules[number] = {**rules[number], "command": _NO_COMMAND}

    @contextmanager
    def _changing_rules(self) -> Iterator[list[dict[str, Any]]]:
        """Yield the rules under an exclusive lock, and write them at the end of the block."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with folder_lock(self.folder):
            rules = self._rules()
            yield rules
            # Atomically: a call that begins now reads the old rules or the new rules.
            write_whole(self.folder / _SCRIPT, json.dumps(rules))

    def _rules(self) -> list[dict[str, Any]]:
        try:
            rules: list[dict[str, Any]] = json.loads((self.folder / _SCRIPT).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        return rules

    def _flag(self, number: int) -> Path:
        return self.folder / f"released-{number}"

    def _wait(
        self, command: str | None, count: int, timeout: float, what: str, is_so: Callable[[DbtCall], bool]
    ) -> DbtCall:
        name = None if command is None else check_command(command)
        require_count(count, "count")
        end = real_time.monotonic() + timeout
        while True:
            calls = [call for call in self.calls if name is None or call.command == name]
            if len(calls) >= count and is_so(calls[count - 1]):
                return calls[count - 1]
            if real_time.monotonic() > end:
                seen = ", ".join(f"'{' '.join(call.arguments)}'" for call in self.calls) or "none"
                wanted = f"dbt {command}" if command else "a call of dbt"
                raise ToolkitMisuse(
                    f"{wanted} (number {count}) has not {what} within {timeout:g} s. Calls on record: {seen}."
                )
            real_time.sleep(_LOOK_AGAIN)


def _kill(process: psutil.Process) -> None:
    import psutil

    # The process may end before each of these calls.
    with suppress(psutil.Error):
        process.kill()
        process.wait(_REAPED_SOON)
    with suppress(psutil.NoSuchProcess):
        # A zombie counts as ended: in a container, perhaps no process reaps orphans.
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            process.wait(TIMEOUT)


def _process(call: DbtCall, pid: int | None) -> psutil.Process | None:
    """Return the living process of a PID, if it is the call's; else None."""
    import psutil

    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        # The PID may belong to another process by now. The command line ends with the words of the call, behind the
        # interpreter and its script; without words it ends with the script.
        script = native_script(call.prefix) if is_native(call.dbt_version) else call.argv[0]
        words = call.arguments or (script,)
        is_ours = tuple(process.cmdline()[-len(words) :]) == words
        return process if is_ours and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None
