"""A program of its own instead of dbt, in an environment of a folder or two, and what serves it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from cosmos_venv.dbt.warm.process import WarmStart
from cosmos_venv.dbt.warm.servers import Program
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import CompletedCommand, run_guarded
from tests.kit import AreGone
from tests.warm_servers import live_servers

DEADLINE = 60.0
SCRIPT = "#!{python}\nimport sys\nfrom harbor_tool import main\nif __name__ == '__main__':\n    sys.exit(main())\n"

# Says who imported it; each command is a function. It begins by noting its id, where it is given one.
TOOL = '''
import json, os, signal, subprocess, sys, threading, time

IMPORTED_BY = os.getpid()

def main():
    note, words = os.environ.get("NOTE"), sys.argv[1:]
    if note:
        descriptor = os.open(note, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, (os.environ["ID"] + chr(10)).encode())
        os.close(descriptor)
    return globals()["do_" + words[0]](*words[1:])

def do_importer():
    print(IMPORTED_BY, os.getpid(), flush=True)

def do_exit(status):
    sys.exit(int(status))

def do_say(*words):
    for number, word in enumerate(words):
        print(word, file=(sys.stdout, sys.stderr)[number % 2], flush=True)

def do_signal(number):
    os.kill(os.getpid(), int(number))
    time.sleep(60)

def do_raise():
    raise LookupError("no such pier")

def do_text():
    sys.exit("said at the end")

def do_full():
    sys.stdout = open("/dev/full", "w")
    print("lost")

def do_thread():
    threading.Thread(target=lambda: (time.sleep(0.1), print("from a thread", flush=True))).start()

def do_atexit():
    import atexit
    atexit.register(print, "at exit")

def do_wait(fifo):
    print(os.getpid(), flush=True)
    print(open(fifo).read(), flush=True)

def do_leave(fifo):
    """Leaves two children behind, one in a session of its own; all are deaf to what is polite."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    other = subprocess.Popen(["sleep", "600"])
    print(os.getpid(), child.pid, other.pid, flush=True)
    if fifo:
        open(fifo).read()

def do_lock():
    """Says what Python's process for semaphores shows of this one's environment."""
    import multiprocessing
    from multiprocessing import resource_tracker
    lock = multiprocessing.get_context("spawn").Lock()
    shown = ""
    while "PATH=" not in shown:  # it may not have begun
        with open("/proc/%d/environ" % resource_tracker._resource_tracker._pid) as file:
            shown = file.read()
    print("PIER_SECRET=" in shown, flush=True)

def do_polite():
    def told(number, _):
        print("told", number, flush=True)
        sys.exit(7)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, told)
    print(os.getpid(), flush=True)
    time.sleep(60)
'''


@dataclass
class Tool:
    """The program, and how its commands have been started so far."""

    folder: Path
    idle: float = 60.0
    most: int = 4
    modules: dict[str, bool] = field(default_factory=lambda: {"harbor_tool": True})
    starts: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    @property
    def script(self) -> Path:
        return self.folder / "bin" / "tool"

    @property
    def program(self) -> Program:
        return Program(environment=self.folder, script=self.script, modules=self.modules)

    def write(self, source: str = TOOL) -> None:
        self.script.parent.mkdir(parents=True, exist_ok=True)
        self.script.write_text(SCRIPT.format(python=sys.executable))
        self.script.chmod(0o755)
        python = self.script.parent / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        (self.script.parent / "harbor_tool.py").write_text(source)

    def warm(self, cancellation: Cancellation, **options: Any) -> WarmStart:
        return WarmStart(
            **{
                "program": self.program,
                "idle": self.idle,
                "most": self.most,
                "cancellation": cancellation,
                "report": self.told.append,
                "count": self.starts.append,
                "is_required": True,
                **options,
            }
        )

    def run(
        self,
        *words: str,
        env: dict[str, str] | None = None,
        cancellation: Cancellation | None = None,
        options: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> CompletedCommand:
        """One command, by a server if there can be one."""
        cancellation = cancellation or Cancellation()
        return run_guarded(
            [str(self.script), *words],
            env={**os.environ, **(env or {})},
            cancellation=cancellation,
            launcher=self.warm(cancellation, **(options or {})),
            **arguments,
        )

    def run_plain(self, *words: str, env: dict[str, str] | None = None, **arguments: Any) -> CompletedCommand:
        return run_guarded([str(self.script), *words], env={**os.environ, **(env or {})}, **arguments)

    def server(self) -> psutil.Process:
        """The only one that there is."""
        (place,) = live_servers()
        return psutil.Process(place.note()["pid"])


@pytest.fixture
def short_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder whose path leaves room for a socket's; no server outlives the test. After pytest's own, which
    would be made inside of it."""
    folder = Path(tempfile.mkdtemp(prefix="cv-", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    try:
        yield folder
    finally:
        end_all_servers()
        shutil.rmtree(folder, ignore_errors=True)


def end_all_servers() -> None:
    for place in live_servers():
        try:
            psutil.Process(place.note()["pid"]).kill()
        except (KeyError, psutil.NoSuchProcess):
            continue


@pytest.fixture
def tool(short_folder: Path) -> Tool:
    made = Tool(folder=short_folder / "environment")
    made.write()
    return made


@pytest.fixture
def gone() -> AreGone:
    """Waits until processes are gone; whatever is still there is killed, so that a failure leaves nothing."""

    def wait(pids: Sequence[int]) -> bool:
        processes = []
        for pid in pids:
            try:
                processes.append(psutil.Process(pid))
            except psutil.NoSuchProcess:
                continue
        alive = psutil.wait_procs(processes, timeout=DEADLINE)[1]
        for process in alive:
            process.kill()
        return not alive

    return wait
