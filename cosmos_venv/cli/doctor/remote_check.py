"""Check of the remote store of environments: its settings, its key, what can be done there, how fast, and its clock."""

from __future__ import annotations

import os
import shlex
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cosmos_venv import settings
from cosmos_venv.cli.doctor.check_result import CheckResult, Examined, Outcome
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.files.read_limits import Limit
from cosmos_venv.processes.scratch import scratch_folder

if TYPE_CHECKING:
    from cosmos_venv.remote.object_store import RemoteFolder

_LONGEST_QUESTION = 10.0  # seconds, as in a task
_REQUESTS = 5
_SMALL, _LARGE = 1_000, 8_000_000
_MEGABYTE = 1e6
_ENVIRONMENT = 60.0  # MB: the archive of a dbt with one adapter
_LARGEST_SKEW = 60.0
_SECOND = 1.0  # object stores leave out its fraction


def remote_can_be_used(_: Examined) -> Iterator[CheckResult]:
    """Yield results about the remote store; none where none is configured."""
    if not settings.remote_environment_dir:
        return
    from cosmos_venv.managed.remote_environments import configured_store, remote_folder
    from cosmos_venv.managed.signing_key import NoKey

    subject = "[cosmos_venv] remote_environment_dir"
    try:
        store = configured_store()
    except CosmosValueError as error:
        yield _result(subject, "failed", str(error), "Until then each task that lacks an environment fails.")
        return
    except NoKey as error:
        way_out = "Let the user of the tasks read it."
        if conn_id := settings.remote_key_conn_id:
            words = f"airflow connections add {shlex.quote(conn_id)} --conn-type generic --conn-password KEY"
            way_out = f"Make it ({words}), or see whether the user of the tasks may read it."
        yield _result(subject, "failed", f"There is no key: {error}. Tasks build for themselves.", way_out)
        return
    yield from _odd_settings()
    subject = str(store.folder)
    try:
        tried = _tried(remote_folder(), may_push=store.may_push, seconds=store.seconds)
    except _Refused as refused:
        way_out = (
            "See the connection of remote_environment_dir_conn_id, and what it may do below this folder: read, list, "
            "write and remove (with remote_environment_push off, read and list)."
        )
        yield _result(subject, "failed", f"{refused}. Tasks build for themselves.", way_out)
        return
    yield from judged(subject, tried, timeout=store.seconds)


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What a trial of a store has shown.

    :param request: seconds that a small request takes.
    :param up: MB/s of an upload; None: nothing was written.
    :param down: MB/s of a download; None: likewise.
    :param skew: seconds by which the clock of the store is ahead of ours, at least; None: it tells no times.
    """

    request: float
    up: float | None = None
    down: float | None = None
    skew: float | None = None


def judged(subject: str, tried: Tried, *, timeout: float) -> Iterator[CheckResult]:
    """Yield what is to be said of a store that can be used.

    :param subject: the store.
    :param tried: what a trial has shown.
    :param timeout: seconds that a task waits for the store at most.
    """
    what = f"{tried.request * 1000:.0f} ms a request"
    if tried.up is None or tried.down is None:
        why = "remote_environment_push is off, or no key is set"
        yield _result(subject, "ok", f"It can be read and listed, {what}. Nothing is put there: {why}.")
        return
    speed = f"{what}, {tried.up:.1f} MB/s up, {tried.down:.1f} MB/s down"
    clocks = "" if tried.skew is None or abs(tried.skew) > _SECOND else "; the clocks agree"
    yield _result(subject, "ok", f"It can be read, written, listed and removed from: {speed}{clocks}.")
    seconds = _ENVIRONMENT / min(tried.up, tried.down)
    if seconds > timeout:
        yield _result(
            subject,
            "warning",
            f"An environment of {_ENVIRONMENT:.0f} MB takes {seconds:.0f} s, and a task waits {timeout:.0f} s at most.",
            "Raise [cosmos_venv] remote_environment_timeout, or use a store that is nearer.",
        )
    if tried.skew is not None and abs(tried.skew) > _LARGEST_SKEW:
        yield _result(
            subject,
            "warning",
            f"Its clock is {abs(tried.skew):.0f} s {'ahead of' if tried.skew > 0 else 'behind'} that of this machine. "
            "Object stores refuse requests that are signed with a wrong time, and --upgrade goes by the times at which "
            "machines have built.",
            "Let this machine keep time (NTP, chrony).",
        )


def skew_of(before: float, after: float, written: float) -> float:
    """Return the seconds by which another clock is ahead of ours, at least; negative: behind.

    :param before: our time before a file was written.
    :param after: our time afterwards.
    :param written: the time that the other clock has given it, perhaps without the fraction of its second.
    """
    return max(written - after, 0.0) + min(written + _SECOND - before, 0.0)


def _odd_settings() -> Iterator[CheckResult]:
    from cosmos_venv.environments.archive.zstandard import zstd

    if settings.remote_key_conn_id and settings.remote_key_file:
        text = "It does nothing beside remote_key_conn_id."
        yield _result("[cosmos_venv] remote_key_file", "warning", text, "Remove one of them.")
    try:
        zstd()
    except VirtualenvError as error:
        text = f"Nothing can be fetched or put there: {error}."
        yield _result("backports.zstd", "warning", text, "Install cosmos-venv[remote] on every worker.")


class _Refused(Exception):
    """Something cannot be done in the store. The text says what, and why."""


@contextmanager
def _doing(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _Refused(f"It cannot be {what} ({error})") from error


def _tried(folder: RemoteFolder, *, may_push: bool, seconds: float) -> Tried:
    name = f"doctor/{os.urandom(8).hex()}"  # no environment has such a name, and no other doctor has this one
    if not may_push:
        request = _seconds_to_read(folder, name, None)
        with _doing("listed"):
            folder.names(name, seconds=_LONGEST_QUESTION)
        return Tried(request=request)
    try:
        return _written_and_read(folder, name, seconds=seconds)
    finally:
        for each in (name, f"{name}-large"):
            with suppress(OSError):
                folder.remove(each, seconds=_LONGEST_QUESTION)


def _written_and_read(folder: RemoteFolder, name: str, *, seconds: float) -> Tried:
    content = os.urandom(_SMALL)
    with _doing("written to"):
        before = time.time()
        folder.write(name, content, seconds=_LONGEST_QUESTION, sweeps=False)
        after = time.time()
    request = _seconds_to_read(folder, name, content)
    with _doing("listed"):
        written = folder.written_at(name, seconds=_LONGEST_QUESTION)
        if folder.names(name, seconds=_LONGEST_QUESTION) != [name]:
            raise OSError("what was just written there is not listed")
    up, down = _speed(folder, f"{name}-large", seconds=seconds)
    with _doing("removed from"):
        folder.remove(name, seconds=_LONGEST_QUESTION)
        if folder.names(name, seconds=_LONGEST_QUESTION) != [f"{name}-large"]:
            raise OSError("what was just removed is still listed")
    return Tried(request=request, up=up, down=down, skew=None if written is None else skew_of(before, after, written))


def _seconds_to_read(folder: RemoteFolder, name: str, content: bytes | None) -> float:
    def read() -> None:
        if folder.read(name, seconds=_LONGEST_QUESTION, limit=Limit(most=_SMALL)) != content:
            raise OSError("what was just written there is not what is read")

    with _doing("read"):
        return statistics.median(_seconds(read) for _ in range(_REQUESTS))


def _speed(folder: RemoteFolder, name: str, *, seconds: float) -> tuple[float, float]:
    """Return MB/s of an upload and of a download."""
    with scratch_folder("cosmos-venv-doctor-") as scratch:
        sent, got = scratch / "sent", scratch / "got"
        sent.write_bytes(os.urandom(_LARGE))
        with _doing("written to"):
            up = _seconds(lambda: folder.upload(sent, name, seconds=seconds, on_wait=lambda: None))
        with _doing("read"):
            down = _seconds(lambda: folder.download(name, got, size=_LARGE, seconds=seconds, on_wait=lambda: None))
            if got.read_bytes() != sent.read_bytes():
                raise OSError("what was just written there is not what is read")
    return _LARGE / _MEGABYTE / up, _LARGE / _MEGABYTE / down


def _seconds(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return max(time.monotonic() - began, 1e-6)


def _result(subject: str, outcome: Outcome, text: str, way_out: str = "") -> CheckResult:
    return CheckResult(check="remote", subject=subject, outcome=outcome, text=text, way_out=way_out)
