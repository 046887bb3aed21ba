"""Python in another place, as another user, on another host: in namespaces that end with the test.

What is mounted there is seen by nobody else; the kernel undoes it when the last process in it ends, however it ends.
"""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.installed import IS_CI

REPOSITORY = Path(__file__).resolve().parents[2]

# Arguments: virtualenv_dir, installer, spec as JSON, then shell commands, each followed by one use more.
USE = """
import json, subprocess, sys, pickle
from pathlib import Path
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.environments.publisher import BuildRequest, open_environment
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.processes.cancellation import Cancellation

directory, preference, order, *commands = sys.argv[1:]
directory, spec = Path(directory), pickle.loads(bytes.fromhex(order))

def said_by(command):
    return subprocess.run([command], capture_output=True, text=True, check=True).stdout.strip()

def use():
    lines, said, error = [], [], ""
    try:
        request = BuildRequest(store=EnvironmentStore(directory), spec=spec, preference=preference, max_tries=0)
        with open_environment(request, cancellation=Cancellation(), report=lines.append) as environment:
            said = [said_by(environment.script("hello"))]
    except (VirtualenvError, CosmosValueError) as raised:
        error = f"{type(raised).__name__}: {raised}"
    entries = [] if said else sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))
    return {"lines": lines, "said": said, "error": error, "left": entries}

uses = [use()]
for command in commands:
    subprocess.run(command, shell=True, check=True)
    uses.append(use())
print(json.dumps(uses))
"""

EMPTY_STORE = ["cosmos_virtualenv.flock", "envs-v2"]


@dataclass(frozen=True, kw_only=True)
class Used:
    """The outcome of one use of a store elsewhere.

    :param lines: what was reported.
    :param said: what the environment's command said.
    :param error: its type and text; empty when there was none.
    :param left: what stands in the directory after an error.
    """

    lines: list[str]
    said: list[str]
    error: str
    left: list[str]


def uses_of(process: subprocess.Popen[str]) -> list[Used]:
    """The outcomes that ``USE`` has printed."""
    output = process.communicate()[0]
    assert process.returncode == 0, output
    return [Used(**use) for use in json.loads(output.splitlines()[-1])]


def within(*more: str, setup: str = "", variables: Sequence[str] = (), user: int | None = None) -> list[str]:
    """The words before a command that run it in namespaces of its own.

    :param more: which, beside that of mounts, in the words of ``unshare``.
    :param setup: shell commands to run there before.
    :param variables: in the words of ``env``.
    :param user: as whom, without any group of others.
    """
    require_namespaces()
    become = [] if user is None else ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups"]
    return [*_unshare(), *more, "sh", "-ec", f'{setup}\nexec "$@"', "sh", "env", *variables, *become]


def tmpfs(directory: Path, options: str = "size=200m") -> str:
    """A file system of its own at an existing directory, as shell command."""
    return f"mount -t tmpfs -o mode=0755,{options} tmpfs {shlex.quote(str(directory))}"


def remounted(directory: Path, options: str) -> str:
    """The same file system with other options, as shell command."""
    # Without a look at the options that it has: they name owners whom a user namespace does not know.
    return f"mount --options-source disable -o remount,{options} {shlex.quote(str(directory))}"


def open_to_everybody(paths: Iterable[Path], aside: Path) -> str:
    """The shell commands that let another user reach these paths in somebody's private folder, and nothing else of it.

    :param aside: an empty folder.
    """
    commands = []
    for private in {_private_folder_above(path) for path in paths} - {None}:
        kept = [path for path in paths if private in path.parents]
        for number, path in enumerate(kept):
            commands.append(f"mkdir {aside}/{number}; mount --bind {path} {aside}/{number}")
        commands.append(f"mount -t tmpfs -o mode=0755 tmpfs {private}")
        for number, path in enumerate(kept):
            commands.append(f"mkdir -p {path}; mount --move {aside}/{number} {path}")
    return "\n".join([*commands, *_open_interpreter(aside)])


def _open_interpreter(aside: Path) -> list[str]:
    """The interpreter itself may be its owner's alone, too: a profiler or a clean-up has closed it."""
    program = Path(sys.executable).resolve()
    if program.stat().st_mode & 0o005 == 0o005:
        return []
    return [f"install -m 755 {program} {aside}/python", f"mount --bind {aside}/python {program}"]


def as_user(user: int, group: int, act: Callable[[], object], *, groups: Sequence[int] = ()) -> str:
    """The value of an action that another user does, or its error with the type's name, as text.

    It runs in a child of this process, so all that it needs is imported already.
    """
    require_root("only root may become another user")
    require_open_checkout()
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups(groups)
            os.setgid(group)
            os.setuid(user)
            said = str(act())
        except BaseException as error:  # noqa: BLE001 - it is what the test asks for
            said = f"{type(error).__name__}: {error}"
        os.write(write_end, said.encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, encoding="utf-8") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def require_open_checkout() -> None:
    """Skip where no other user may enter this checkout, as below a home such as /root; in CI the test then fails.

    Our code looks at its own source files, to learn who owns them.
    """
    closed = [folder for folder in (REPOSITORY, *REPOSITORY.parents) if not folder.stat().st_mode & stat.S_IXOTH]
    if closed and not IS_CI:
        pytest.skip(f"no other user may enter {closed[-1]}, where this checkout is: clone it somewhere else")


def own_python() -> list[Path]:
    """The folders of the tests' Python and of all that it imports."""
    prefixes = {Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve()}
    return sorted(prefixes | {Path(sys.prefix), REPOSITORY})


def require_namespaces() -> None:
    """Skip where this user may not mount, not even in a namespace of its own; in CI that is a failure."""
    reason = _why_no_namespaces()
    if not reason:
        return
    text = f"needs a mount namespace ({reason}): be root, or let users have namespaces of their own"
    if os.environ.get("CI") == "true" and sys.platform == "linux":
        pytest.fail(text)
    pytest.skip(text)


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user, or give files to one")


def require_root(why: str) -> None:
    """Skip where the tests run as an ordinary user, in CI too: GitHub's runners are none but that."""
    if os.getuid() != 0:
        pytest.skip(f"needs root: {why}")


def _unshare() -> list[str]:
    return ["unshare", *([] if os.getuid() == 0 else ["--user", "--map-root-user"]), "--mount"]


@cache
def _why_no_namespaces() -> str:
    command = [*_unshare(), "mount", "-t", "tmpfs", "tmpfs", "/tmp"]  # noqa: S108 - only in the namespace
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "there is no unshare: this is no Linux"
    return done.stderr.strip() if done.returncode else ""


def _private_folder_above(path: Path) -> Path | None:
    """The highest one that others may not enter."""
    return next((folder for folder in reversed(path.parents) if not folder.stat().st_mode & 0o001), None)
