"""The commands ``cosmos-venv server status`` and ``server stop``: the warm servers that dbt is forked from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.filesize import decimal

from cosmos_venv.cli.output import Result, steps, table_of
from cosmos_venv.cli.parsing import add_action, add_actions, existing_path
from cosmos_venv.exceptions import CosmosValueError

if TYPE_CHECKING:
    from cosmos_venv.cli.parsing import Actions
    from cosmos_venv.dbt.warm.status import RunningCommand, WarmServer

_HEADINGS = ("pid", "user", "environment", "state", "age", "idle", "served", "memory", "running")
_SHORT, _FEWEST = 12, 4  # characters of a digest: shown, and at least needed to name a server
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def add_to(subjects: Actions) -> None:
    """Add ``cosmos-venv server`` and its actions.

    :param subjects: the sub-commands of ``cosmos-venv``.
    """
    actions = add_actions(subjects, "server", "the processes that dbt is forked from")
    status = add_action(actions, "status", "show the warm servers", server_status)
    stop = add_action(actions, "stop", "end warm servers", server_stop)
    stop.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"a process id, at least {_FEWEST} first characters of an environment's digest, or an environment's path",
    )
    stop.add_argument(
        "--all",
        action="store_true",
        help="end all servers of this user, also those of other projects; for root those of all users",
    )
    for action in (status, stop):
        action.add_argument(
            "--dir", type=existing_path, metavar="DIR", help="only servers of environments in this virtualenv_dir"
        )


def server_status(options: argparse.Namespace) -> Result:
    """Show each warm server of this user on this host ([cosmos_venv] virtualenv_warm_dbt); for root those of all users.

    It shows the environment of the server, its age, the number of commands so far, and the commands that run now.

    :param options: the command line.
    """
    from cosmos_venv.dbt.warm.status import running_servers

    with steps("asking servers"):
        found = running_servers(below=options.dir)
    table = table_of(_HEADINGS, [_row(each) for each in found])
    return Result(data={"servers": [asdict(each) for each in found]}, shown=[table] if found else [_none(options.dir)])


def server_stop(options: argparse.Namespace) -> Result:
    """End warm servers.

    Commands that are running continue to their end; the next command starts without a warm server, as after an idle
    time. Exit code 1: no server has that name, or a server has not ended.

    :param options: the command line.
    :raises CosmosValueError: for a name that fits no server.
    """
    from cosmos_venv.dbt.warm.status import end, running_servers

    names = options.names
    if bool(names) == options.all:
        options.parser.error("give the names of servers, or --all")
    found = running_servers(below=options.dir)
    for name in names:
        if not any(_is_named(each, name) for each in found):
            raise CosmosValueError(f"NAME {name!r} fits no server: see cosmos-venv server status.")
    chosen = [each for each in found if options.all or any(_is_named(each, name) for name in names)]
    with steps("waiting for servers to end"):
        ended = [(each, end(each)) for each in chosen]
    return Result(
        data={"servers": [{**asdict(each), "has_ended": has_ended} for each, has_ended in ended]},
        shown=[_outcome(each, has_ended) for each, has_ended in ended] or [_none(options.dir)],
        is_wrong=not all(has_ended for _, has_ended in ended),
    )


def _none(directory: Path | None) -> str:
    return "No warm server runs on this host" + (f" for an environment in {directory}." if directory else ".")


def _row(server: WarmServer) -> tuple[str, ...]:
    return (
        str(server.pid),
        server.user,
        _environment(server),
        server.state,
        _duration(server.age_seconds),
        "" if server.idle_seconds is None else _duration(server.idle_seconds),
        "" if server.commands is None else str(server.commands),
        decimal(server.memory_bytes),
        _commands(server.running),
    )


def _outcome(server: WarmServer, has_ended: bool) -> str:
    what = f"process {server.pid}, {_environment(server)}"
    if has_ended:
        return f"{what}: ended" + (f"; {_commands(server.running)} runs on" if server.running else "")
    return f"{what}: has not ended. It belongs to another user, or hangs: kill -9 {server.pid} touches no command."


def _environment(server: WarmServer) -> str:
    """The environment of a server; a managed environment by its digest, as in ``env list``."""
    digest, dash, suffix = Path(server.environment).name.partition("-")
    return f"{digest[:_SHORT]}-{suffix}" if dash and len(digest) > _SHORT else server.environment


def _is_named(server: WarmServer, name: str) -> bool:
    is_digest = len(name) >= _FEWEST and Path(server.environment).name.startswith(name)
    return is_digest or name in (str(server.pid), server.environment, _environment(server))


def _commands(running: Sequence[RunningCommand]) -> str:
    return ", ".join(f"{each.name} for {_duration(each.seconds)} (process {each.pid})" for each in running)


def _duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h" if seconds < _DAY else f"{seconds / _DAY:.1f} days"
