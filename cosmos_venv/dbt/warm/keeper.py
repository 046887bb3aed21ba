"""What happens between the server's fork and the end of one command? The guard of a plain command, forked instead.

To the worker it says, line by line: ``hello PID``; after the order ``ready PID`` or ``refused WORD TEXT``; after the
worker's ``g`` what a guard says. Until that ``g`` dbt's entry point is not called, and the worker may give up.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos_venv import guard
from cosmos_venv.dbt.warm import child, facts, offers, parsed
from cosmos_venv.dbt.warm.kept_projects import KeptProjects

NAME = "dbt-warm-keeper"
"""Of its process until a command begins, whose name it has then."""
GO = b"g"
_PREPARED = b"prepared"
_LONGEST_REFUSAL = 4096


@dataclass(frozen=True)
class Kept:
    """What the server knows, and a keeper with it.

    :param code: of the script.
    :param handlers: of signals, as the imports have left them.
    :param read: environment variables that the imports have looked at, with what they found.
    :param used: a pipe to the server: one byte for each command that begins.
    :param projects: for commands that may use them.
    :param offers: the way on which the server hears what such a command has read.
    :param tell: answers a question about the server.
    :param close: closes what is the server's alone.
    """

    code: types.CodeType
    handlers: child.Handlers
    read: Mapping[str, str | None]
    used: int
    projects: KeptProjects
    offers: offers.Offers
    tell: Callable[[str], str]
    close: Callable[[], None]


def keep(control: socket.socket, worker: int, kept: Kept) -> None:
    """Serve one worker; returns when nothing of its command is left. Called in a process that was forked for it.

    :param worker: its PID, by the word of the kernel.
    """
    kept.close()
    child.take_name(NAME)
    os.setsid()  # as the guard of a plain command leads one
    wakeup, write_end = guard.stand_guard()
    try:
        alive = os.pidfd_open(worker)
    except OSError:
        return  # it is gone
    guard.tell(control.fileno(), f"hello {os.getpid()}\n")
    text, handed_over = guard.receive(control.fileno())
    if text is None:
        return
    order = json.loads(text)
    if "ask" in order:
        guard.tell(control.fileno(), kept.tell(order["ask"]))
        return
    reason = why_not(order, kept.read)
    if reason is not None:
        guard.tell(control.fileno(), f"refused {reason}\n")
        return
    ours, theirs = socket.socketpair()
    report = offers.new_report() if order.get("keeps_project") else None
    pid = os.fork()
    if pid == 0:
        for descriptor in (wakeup, write_end, alive, *handed_over[1:]):
            os.close(descriptor)
        for connection in (control, ours):
            connection.close()
        os.close(kept.used)
        kept.offers.close()
        _become_dbt(theirs, os.getppid(), order, handed_over[0], kept, report)
    theirs.close()
    os.close(handed_over[0])  # or the worker would wait for this process's end too
    _run(pid, ours, control, order, kept, alive=alive, wakeup=wakeup)
    if report is not None:
        kept.offers.hand_over(report)


def end_parent(parent: int) -> None:
    """Signal the parent of this process as long as it is that one. Who adopts it then may be the first process of a
    container, of the same user."""
    try:
        process = os.pidfd_open(parent)
    except OSError:
        return
    try:
        if os.getppid() == parent:
            signal.pidfd_send_signal(process, signal.SIGTERM)
    except OSError:
        return
    finally:
        os.close(process)


def why_not(order: Mapping[str, Any], read: Mapping[str, str | None]) -> str | None:
    """A word and a sentence why the command must be started instead of forked; None when it need not."""
    name = facts.difference(order["situation"], facts.situation())
    if name is not None:
        return f"situation the task and the server of its environment differ in their {name}"
    for name, value in read.items():
        if order["env"].get(name) != value:
            return f"variable the environment variable {name} is read while dbt is imported, and has another value"
    return None


def _become_dbt(
    step: socket.socket, keeper: int, order: Mapping[str, Any], output: int, kept: Kept, report: int | None
) -> None:
    try:
        guard.prctl(guard.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            return
        child.become(order, output=output, handlers=kept.handlers)
        step.sendall(_PREPARED)
        if step.recv(1) != GO:
            return
        step.close()
        if report is None:
            kept.projects.drop()  # of other projects, perhaps: no line of this one shall find it
        else:
            parsed.install(kept.projects.ready, report)
        child.run(order, kept.code)
    except child.CannotBecome as error:
        step.sendall(f"limits {error}".encode())
    except OSError as error:
        step.sendall(f"folder {error}".encode())
    finally:
        os._exit(127)


def _run(
    pid: int,
    step: socket.socket,
    control: socket.socket,
    order: Mapping[str, Any],
    kept: Kept,
    *,
    alive: int,
    wakeup: int,
) -> None:
    prepared = step.recv(_LONGEST_REFUSAL)
    if prepared != _PREPARED:
        words = prepared.decode("utf-8", "replace").replace("\n", " ") or "died the forked process ended at once"
        guard.tell(control.fileno(), f"refused {words}\n")
        return
    guard.tell(control.fileno(), f"ready {pid}\n")
    if _is_told_to_go(control, alive):
        guard.tell(kept.used, "u")
        step.sendall(GO)
        guard.tell(control.fileno(), f"pid {pid}\n")
        # Who lists the servers is told by it what runs. The words that follow may be secret.
        child.take_name(" ".join([Path(order["argv"][0]).name, *order["argv"][1:2]]))
    step.close()  # without the word the process ends by itself
    os.close(kept.used)
    first_step = guard.INTERRUPT_AT if order["interrupts"] else guard.TERMINATE_AT
    guard.watch(
        pid,
        control.fileno(),
        wakeup,
        is_worker_gone=lambda: bool(guard.readable([alive], 0)),
        ladder=guard.Ladder(first_step),
    )


def _is_told_to_go(control: socket.socket, alive: int) -> bool:
    while True:
        ready = guard.readable([control.fileno(), alive], guard.PARENT_CHECK)
        if control.fileno() in ready:
            try:
                return control.recv(1) == GO
            except OSError:
                return False
        if alive in ready:
            return False
