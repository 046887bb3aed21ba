"""A forked command is in everything that it can ask about itself as if it had been started."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dbt.warm.conftest import TOOL, Tool

# What only says which process it is, or differs from one start to the next.
TELLING = (
    TOOL
    + """
import locale, resource

STATUS = ("Name Umask State FDSize Uid Gid Groups Threads SigPnd ShdPnd SigBlk SigIgn SigCgt CapInh CapPrm CapEff "
          "CapBnd CapAmb NoNewPrivs Seccomp Cpus_allowed Mems_allowed").split()

def status():
    with open("/proc/self/status") as file:
        lines = dict(line.rstrip().split(":", 1) for line in file)
    return {name: lines[name].strip() for name in STATUS if name in lines}

def descriptors():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            path = os.readlink("/proc/self/fd/" + name).partition("[")[0]
            if "libffi" not in path:  # its newer releases keep their own file open from the first import of ctypes
                found[name] = [path, os.get_inheritable(int(name))]
        except OSError:
            continue
    return found

def text_of(name):
    with open("/proc/self/" + name) as file:
        return file.read()

def stream(each):
    return [each.fileno(), each.encoding, each.errors, each.line_buffering, each.write_through, each.isatty(),
            each.name, each.mode]

def handler(number):
    found = signal.getsignal(number)
    return str(int(found)) if isinstance(found, int) else getattr(found, "__name__", str(found))

def relations():
    with open("/proc/self/stat") as file:
        _, _, rest = file.read().rpartition(") ")
    _, parent, group, session, terminal = rest.split()[:5]
    parent = int(parent)
    return dict(is_leader=os.getpid() in (int(group), int(session)), group_is_parents=int(group) == parent,
                session_is_parents=int(session) == parent, terminal=terminal)

def do_tell(*words):
    here = dict(
        argv=sys.argv, words=words, orig_argv=getattr(sys, "orig_argv", None), path=sys.path, executable=sys.executable,
        prefix=sys.prefix, flags=str(sys.flags), warnoptions=sys.warnoptions, recursion=sys.getrecursionlimit(),
        environment=dict(os.environ), order=list(os.environ), cwd=os.getcwd(), umask=os.umask(0o77),
        main={name: str(value) for name, value in vars(sys.modules["__main__"]).items()
              if name in ("__name__", "__file__", "__doc__", "__package__", "__spec__", "__cached__")},
        streams=[stream(each) for each in (sys.stdin, sys.stdout, sys.stderr)], status=status(),
        descriptors=descriptors(), relations=relations(), tty=[os.isatty(number) for number in range(3)],
        handlers={int(number): handler(number) for number in signal.valid_signals()},
        blocked=sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), wakeup=signal.set_wakeup_fd(-1),
        limits={name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if "RLIMIT_" in name},
        nice=os.getpriority(os.PRIO_PROCESS, 0), affinity=sorted(os.sched_getaffinity(0)), locale=locale.setlocale(0),
        oom=text_of("oom_score_adj"), root=os.readlink("/proc/self/root"),
        cgroup=text_of("cgroup"), children=text_of(f"task/{os.getpid()}/children"),
        threads=[each.name for each in threading.enumerate()], switch=sys.getswitchinterval(),
        hash_of_none=hash("pier") != 0, is_main=threading.current_thread() is threading.main_thread(),
        ours=[name for name in sys.modules if "cosmos" in name],
        shell=subprocess.run("env; ulimit -a; umask; cat /proc/self/cgroup", shell=True, capture_output=True, text=True,
                             errors="backslashreplace").stdout.splitlines(),
    )
    print(json.dumps(here))

def do_threshold():
    import gc
    print(gc.isenabled(), gc.get_threshold()[0])
"""
)


def told(line: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(line)
    # A shell says what else it was started with; its own number is in "_" of none.
    answer["shell"] = sorted(each for each in answer["shell"] if not each.startswith("_="))
    return answer


@pytest.fixture(autouse=True)
def teller(tool: Tool) -> Tool:
    tool.write(TELLING)
    return tool


def both(tool: Tool, *words: str, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    env = arguments.pop("env", None)
    warm = tool.run("tell", *words, env=env, **arguments)
    plain = tool.run_plain("tell", *words, env=env, **arguments)
    assert warm.returncode == plain.returncode == 0, (warm, plain)
    assert tool.starts == ["warm"] * len(tool.starts)
    return told(warm.lines[0]), told(plain.lines[0])


def test_a_process_cannot_tell_that_it_was_forked(tool: Tool, tmp_path: Path) -> None:
    tool.run("exit", "0", env={"OF_ANOTHER": "secret"})  # the server's first customer is somebody else

    env = {"PIER": "north=1\n2", "EMPTY": "", "ODD": "\udcff", "UMLAUT": "Fähre"}
    warm, plain = both(tool, "two words", "", "\udcff", env=env, cwd=tmp_path)

    assert warm == plain


@pytest.fixture
def odd_worker() -> Iterator[None]:
    """This process as somebody else may have set it up."""
    umask = os.umask(0o027)
    handlers = {
        **{number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGUSR1, signal.SIGQUIT)},
        **{number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)},
        **{number: signal.signal(number, lambda *_: None) for number in (signal.SIGUSR2, signal.SIGTERM)},
    }
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH, signal.SIGRTMIN])
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    os.umask(umask)


@pytest.mark.parametrize("is_first", [True, False], ids=["odd-first-customer", "odd-second-customer"])
def test_what_a_worker_hands_down_arrives(tool: Tool, request: pytest.FixtureRequest, is_first: bool) -> None:
    if not is_first:
        tool.run("exit", "0")
    request.getfixturevalue("odd_worker")

    warm, plain = both(tool)

    assert warm == plain
    assert warm["umask"] == 0o027
    assert [warm["handlers"][str(number)] for number in (signal.SIGUSR1, signal.SIGUSR2)] == ["1", "0"]


@pytest.mark.usefixtures("odd_worker")
def test_the_first_customer_leaves_nothing_to_the_next(tool: Tool, request: pytest.FixtureRequest) -> None:
    tool.run("exit", "0")
    os.umask(0o022)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])

    warm, plain = both(tool)

    assert warm == plain


def test_variables_of_an_interpreter_get_a_server_of_their_own(tool: Tool) -> None:
    for env in (
        {"PYTHONWARNINGS": "error::UserWarning"},
        {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "latin-1"},
        {"TZ": "Asia/Aden"},
    ):
        warm, plain = both(tool, env=env)
        assert warm == plain


def test_the_server_has_no_descriptor_and_no_variable_of_the_task_that_started_it(tool: Tool, tmp_path: Path) -> None:
    inherited = os.open(tmp_path / "of-the-task", os.O_RDWR | os.O_CREAT)
    os.set_inheritable(inherited, True)
    os.environ["SECRET"] = "s3cret-word"
    try:
        tool.run("tell", env={"PASSWORD": "s3cret-word"}, keep_open=[inherited])
    finally:
        os.close(inherited)
        del os.environ["SECRET"]

    server = tool.server()
    open_files = {os.path.realpath(file.path) for file in server.open_files()}
    links = [str(Path(f"/proc/{server.pid}/fd/{number}").readlink()) for number in range(3)]
    assert links == [os.devnull] * 3
    assert {Path(path).suffix for path in open_files} == {".lock"}
    assert "s3cret-word" not in " ".join([*server.environ().values(), *server.cmdline()])
    assert server.cwd() == "/"
    assert os.getsid(server.pid) == server.pid != os.getsid(0)
    assert server.ppid() != os.getpid()
    assert memory_holds(server.pid, b"harbor_tool")
    assert not memory_holds(server.pid, b"s3cret-word")


def memory_holds(pid: int, word: bytes) -> bool:
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:  # noqa: PTH123
        for line in maps:
            (
                span,
                rights,
                *_,
            ) = line.split()
            first, last = (int(each, 16) for each in span.split("-"))
            if "rw" not in rights:
                continue
            try:
                memory.seek(first)
                if word in memory.read(last - first):
                    return True
            except (OSError, OverflowError, ValueError):
                continue
    return False


def test_no_process_of_a_warm_command_shows_its_variables(tool: Tool) -> None:
    """Python counts semaphores in a program of its own, which lives as long as the command."""
    tool.modules["multiprocessing.resource_tracker"] = True

    shown = [tool.run("lock", env={"PIER_SECRET": "s3cret"}).lines for _ in range(2)]

    assert shown == [["False"]] * 2
