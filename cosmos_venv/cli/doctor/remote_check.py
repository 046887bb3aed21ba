"""Check of the remote store of environments: its settings, its key, and what can be done there."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cosmos_venv import settings
from cosmos_venv.cli.doctor.check_result import CheckResult, Examined, Outcome
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.files.read_limits import Limit

if TYPE_CHECKING:
    from cosmos_venv.environments.remote_store import RemoteStore

_LONGEST_QUESTION = 10.0  # seconds, as in a task
_SMALL = Limit(most=1_000)


def remote_can_be_used(_: Examined) -> Iterator[CheckResult]:
    """Yield results about the remote store; none where none is configured."""
    if not settings.remote_environment_dir:
        return
    from cosmos_venv.environments.archive import zstd
    from cosmos_venv.managed.remote_environments import configured_store
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
    if settings.remote_key_conn_id and settings.remote_key_file:
        text = "It does nothing beside remote_key_conn_id."
        yield _result("[cosmos_venv] remote_key_file", "warning", text, "Remove one of them.")
    try:
        zstd()
    except VirtualenvError as error:
        text = f"Nothing can be fetched or put there: {error}."
        yield _result("backports.zstd", "warning", text, "Install cosmos-venv[remote] on every worker.")
    yield _tried(store)


def _tried(store: RemoteStore) -> CheckResult:
    """Return what came of reading, writing and removing a small file; of reading alone where nothing is to be put."""
    folder, began = store.folder, time.monotonic()
    name = f"doctor/{os.urandom(8).hex()}"  # no environment has such a name, and no other doctor has this one
    content, doing = (b"written by cosmos-venv doctor", "written") if store.may_push else (None, "read")
    try:
        if content is not None:
            folder.write(name, content, seconds=_LONGEST_QUESTION, on_wait=_nothing)
        doing = "read"
        if folder.read(name, seconds=_LONGEST_QUESTION, limit=_SMALL, on_wait=_nothing) != content:
            raise OSError("what was just written there is not what is read")
        if content is not None:
            doing = "removed"
            folder.remove(name, seconds=_LONGEST_QUESTION)
    except (OSError, ValueError) as error:
        way_out = (
            "See the connection of remote_environment_dir_conn_id, and what it may do below this folder: read, write "
            "and remove (with remote_environment_push off, read)."
        )
        return _result(str(folder), "failed", f"No file can be {doing} ({error}). Tasks build for themselves.", way_out)
    what = "read, written and removed" if store.may_push else "read; remote_environment_push is off"
    return _result(str(folder), "ok", f"Files can be {what}, in {time.monotonic() - began:.1f} s.")


def _nothing() -> None:
    """Wait."""


def _result(subject: str, outcome: Outcome, text: str, way_out: str = "") -> CheckResult:
    return CheckResult(check="remote", subject=subject, outcome=outcome, text=text, way_out=way_out)
