"""A proof that a warm start never costs a command: servers and keepers killed repeatedly, and many commands of one.

    .venv/bin/python -m tools.prove_warm [--kills 100] [--keepers 20] [--commands 1000] [--dbt 100]

Prints a table; exit code 1 when a single command went wrong. Every process is real, and every kill a SIGKILL. The last
line is of the real dbt, the others of a program that is imported in a moment.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from cosmos_venv.dbt.native.engine import PYTHON
from cosmos_venv.dbt.warm import servers
from cosmos_venv.dbt.warm.process import WarmStart, dbt_program
from cosmos_venv.dbt.warm.servers import Program
from cosmos_venv.exceptions import CommandKilled
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import run_guarded
from tools.proof import Tally, prove

ROOT = Path(__file__).resolve().parents[1]
DBT = ROOT / ".cache" / "envs" / "dbt111"
EXAMPLE = ROOT / "examples" / "dbt" / "harbor"
AT_ONCE = 2  # commands
BEFORE_GROWTH = 10  # commands after which nothing may grow any more
SPARE_BYTES = 1 << 20
LONGEST_LIFE = 0.3  # seconds of a server, as its killer wants it
_DEADLINE = 30.0

SCRIPT = "#!{python}\nimport sys\nfrom harbor_tool import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
# Its first step is to note its number.
PROGRAM = """
import os, sys, time

def main():
    descriptor = os.open(os.environ["NOTE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (sys.argv[1] + chr(10)).encode())
    os.close(descriptor)
    print(os.getpid(), flush=True)
    time.sleep(float(sys.argv[2]))
    sys.exit(int(sys.argv[1]) % 100)
"""


@dataclass
class Tool:
    """A program, and how its commands have started.

    :param env: environment variables of its commands beside those of this process.
    """

    program: Program
    env: dict[str, str] = field(default_factory=dict)
    starts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def made(cls, folder: Path) -> Tool:
        """The small program, in an environment of its own, with a file for its notes."""
        script = folder / "bin" / "tool"
        script.parent.mkdir(parents=True)
        script.write_text(SCRIPT.format(python=sys.executable))
        script.chmod(0o755)
        (script.parent / "harbor_tool.py").write_text(PROGRAM)
        program = Program(environment=folder, script=script, modules={"harbor_tool": True})
        return cls(program, env={"NOTE": str(folder / "note")})

    def noted(self) -> Counter[str]:
        """The number of runs of each number."""
        return Counter(Path(self.env["NOTE"]).read_text().split())

    def run(
        self,
        *words: str,
        cwd: Path | None = None,
        is_required: bool = True,
        on_line: Callable[[str], None] | None = None,
    ) -> int:
        """The exit status of one command.

        :param is_required: whether it has to start warm.
        """
        cancellation = Cancellation()
        start = WarmStart(
            program=self.program,
            idle=1e12,  # every command is taken for the second one
            most=4,
            cancellation=cancellation,
            report=lambda _: None,
            count=lambda how: self.starts.update([how]),
            is_required=is_required,
        )
        argv = [str(self.program.script), *words]
        env = {**os.environ, **self.env}
        return run_guarded(argv, env=env, cwd=cwd, cancellation=cancellation, on_line=on_line, start=start).returncode


def killed_servers(folder: Path, kills: int) -> Tally:
    """Two commands at a time, twice as many as kills; each runs once, with the right result."""
    tool, chance = Tool.made(folder / "servers"), random.Random(4711)  # noqa: S311 - the same times in every run
    tally = Tally(what="commands while their servers are killed")
    is_over = threading.Event()
    killed: list[int] = []
    killer = threading.Thread(target=_kill_servers, args=(is_over, killed, kills))
    killer.start()
    numbers = iter(range(sys.maxsize))
    results: dict[int, int] = {}

    def work() -> None:
        while (number := next(numbers)) < 2 * kills or len(killed) < kills:
            try:
                results[number] = tool.run(str(number), f"{chance.uniform(0, 0.2)}", is_required=False)
            except Exception as error:  # noqa: BLE001 - each is a line of the table
                tally.faults.append(f"command {number}: {type(error).__name__}: {error}")

    _side_by_side(work)
    is_over.set()
    killer.join()
    noted = tool.noted()
    tally.faults += [f"command {each}: status {status}" for each, status in results.items() if status != each % 100]
    tally.faults += [f"command {each} ran {noted[str(each)]} times" for each in results if noted[str(each)] != 1]
    tally.rounds = len(results)
    tally.notes = f"{len(killed)} servers killed, {tool.starts['warm']} commands warm"
    return tally


def _side_by_side(work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _kill_servers(is_over: threading.Event, killed: list[int], kills: int) -> None:
    chance = random.Random(815)  # noqa: S311 - as above
    while len(killed) < kills and not is_over.is_set():
        for place in servers.servers():
            pid = place.note().get("pid")
            if pid is not None and pid not in killed[-AT_ONCE:]:
                is_over.wait(chance.uniform(0, LONGEST_LIFE))
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
        time.sleep(0.005)


def killed_keepers(folder: Path, rounds: int) -> Tally:
    """The task fails, its command is gone and has run once, and the server serves on."""
    tool = Tool.made(folder / "keepers")
    tally = Tally(what="keepers killed while their command runs", rounds=rounds)
    longest = 0.0
    for number in range(rounds):
        running: list[psutil.Process] = []

        def on_line(line: str, running: list[psutil.Process] = running) -> None:
            running.append(psutil.Process(int(line)))
            keeper = running[0].parent()
            assert keeper is not None  # noqa: S101 - dbt's parent is there
            keeper.kill()

        began = time.monotonic()
        try:
            status = tool.run(str(number), "600", on_line=on_line)
            tally.faults.append(f"round {number}: the command ended with {status}")
        except CommandKilled:
            if psutil.wait_procs(running, timeout=_DEADLINE)[1]:
                tally.faults.append(f"round {number}: the command lives on")
        longest = max(longest, time.monotonic() - began)
    if tool.noted() != Counter(map(str, range(rounds))):
        tally.faults.append(f"numbers of runs: {tool.noted()}")
    tally.notes = f"at most {longest:.2f} s from start to gone"
    return tally


def small_commands(folder: Path, count: int) -> Tally:
    """Send ``count`` small commands to one server."""
    tool = Tool.made(folder / "small")
    return _growth("commands of one server", count, tool, lambda each: tool.run(str(each), "0") == each % 100)


def real_dbt(folder: Path, count: int) -> Tally:
    """The real dbt, which reads a project and writes its files."""
    project = folder / "harbor"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("target", "logs"))
    (project / "profiles.yml").write_text(
        "harbor: {target: dev, outputs: {dev: {type: duckdb, path: harbor.duckdb, threads: 1}}}\n"
    )
    tool = Tool(dbt_program(DBT, DBT / "bin" / "dbt", PYTHON), env={"DBT_SEND_ANONYMOUS_USAGE_STATS": "false"})
    words = ("seed", "--profiles-dir", ".")
    return _growth("dbt seed by one server", count, tool, lambda _: tool.run(*words, cwd=project) == 0)


def _growth(what: str, count: int, tool: Tool, is_right: Callable[[int], bool]) -> Tally:
    tally = Tally(what=what, rounds=count)
    before = _State()
    for number in range(count):
        if not is_right(number):
            tally.faults.append(f"command {number} went wrong")
        if number == min(BEFORE_GROWTH, count - 1):
            before = _State.now(tool)
    after = _State.now(tool)
    if (before.pid, before.descriptors, before.own) != (after.pid, after.descriptors, after.own) or after.children:
        tally.faults.append(f"{before} has become {after}")
    if after.memory > before.memory + SPARE_BYTES:
        tally.faults.append(f"the server has grown from {before.memory} to {after.memory} bytes")
    if tool.starts != Counter(warm=count):
        tally.faults.append(f"starts: {dict(tool.starts)}")
    tally.notes = (
        f"server {after.memory >> 20} MiB {(after.memory - before.memory) / 1024:+.0f} KiB, "
        f"{after.descriptors} descriptors, {after.children} children; task's process {after.own} descriptors"
    )
    return tally


@dataclass(frozen=True)
class _State:
    """The process of a server, its memory in bytes, descriptors and children; and the descriptors of this process."""

    pid: int = 0
    memory: int = 0
    descriptors: int = 0
    children: int = 0
    own: int = 0

    @classmethod
    def now(cls, tool: Tool) -> _State:
        environment = str(tool.program.environment)
        (pid,) = {place.note()["pid"] for place in servers.servers() if place.note()["environment"] == environment}
        server = psutil.Process(pid)
        psutil.wait_procs(server.children(), timeout=_DEADLINE)
        return cls(
            pid,
            server.memory_info().rss,
            server.num_fds(),
            len(server.children()),
            psutil.Process().num_fds(),
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 when a single command went wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="of servers, during twice as many commands")
    parser.add_argument("--keepers", type=int, default=20, help="that are killed while their command runs")
    parser.add_argument("--commands", type=int, default=1000, help="of one server")
    parser.add_argument("--dbt", type=int, default=100, help="commands of the real dbt by one server")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="cosmos-venv-proof-"))
    os.environ.pop("XDG_RUNTIME_DIR", None)
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)  # servers of this proof alone
    proofs = (
        (killed_servers, options.kills),
        (killed_keepers, options.keepers),
        (small_commands, options.commands),
        (real_dbt, options.dbt),
    )
    try:
        return prove(proofs, folder)
    finally:
        for place in servers.servers():
            servers.stop(place)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
