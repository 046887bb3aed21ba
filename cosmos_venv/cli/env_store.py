"""What do ``cosmos-venv env list``, ``inspect`` and ``verify`` do? Say what stands in a ``virtualenv_dir``.

They write nothing, so a read-only mount and another user's directory can be looked at too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal

from cosmos_venv.environments.inventory import StoredBuild, bytes_of, read_inventory, select
from cosmos_venv.environments.leftovers import failed_log
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError

OK, WRONG = 0, 1
SHORT = 12  # characters of a digest that people are shown; as many tell environments apart

_IN_USE = {True: "in use", False: "", None: "use unknown"}


def env_list(directory: Path, *, as_json: bool) -> int:
    """List the builds of a directory. Returns the exit code."""
    return _looking(lambda: _list(read_inventory(EnvironmentStore(directory)), directory, as_json))


def env_inspect(directory: Path, digest: str, *, as_json: bool) -> int:
    """Tell all that is known of an environment. Returns the exit code.

    :param digest: the first characters of it, or one generation as ``<digest>-<number>``.
    """
    return _looking(lambda: _inspect(select(read_inventory(EnvironmentStore(directory)), digest), as_json))


def env_verify(directory: Path, digest: str | None, *, as_json: bool) -> int:
    """Hold finished builds against their records. Returns the exit code, 1 when one differs.

    :param digest: only these, as in ``env_inspect``; None: all.
    """
    return _looking(lambda: _verify(read_inventory(EnvironmentStore(directory)), digest, as_json))


def as_data(stored: StoredBuild, *, pins: bool = False) -> dict[str, Any]:
    """A build as JSON has it. No credential is in it.

    :param pins: whether the version of each distribution is wanted.
    """
    import msgspec

    record = msgspec.to_builtins(stored.record)
    if record and not pins:
        del record["pins"]
    return {
        "digest": stored.digest,
        "generation": stored.generation,
        "state": stored.state,
        "in_use": stored.is_in_use,
        "last_used": _instant(stored.last_used),
        "bytes": bytes_of([stored]),
        "path": str(stored.path),
        "log": str(failed_log(stored.build)) if stored.state == "failed" else None,
        "record": record,
        "record_fault": stored.record_fault or None,
    }


def title(stored: StoredBuild) -> str:
    """What people know an environment by."""
    requirements = ", ".join(stored.record.spec.requirements) or "no requirements" if stored.record else ""
    return f"{stored.digest[:SHORT]}-{stored.generation}  {requirements}".rstrip()


def print_lines(lines: Sequence[str]) -> None:
    """Print as it is, each on a line of its own."""
    show = Console(highlight=False, soft_wrap=True)
    for line in lines:
        show.print(line, markup=False)


def _looking(look: Callable[[], int]) -> int:
    try:
        return look()
    except (VirtualenvError, CosmosValueError) as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(str(error), style="red", markup=False)
        return WRONG


def _list(builds: Sequence[StoredBuild], directory: Path, as_json: bool) -> int:
    if as_json:
        listed = [as_data(each) for each in builds]
        print(json.dumps({"virtualenv_dir": str(directory), "bytes": bytes_of(builds), "builds": listed}, indent=2))
    elif not builds:
        print_lines([f"{directory} holds no managed environment."])
    else:
        print_lines([*map(_line, builds), f"{decimal(bytes_of(builds))} on disk together"])
    return OK


def _line(stored: StoredBuild) -> str:
    parts = [stored.state, _IN_USE[stored.is_in_use], f"last used {_instant(stored.last_used) or 'never'}"]
    return ", ".join([title(stored), *filter(None, parts), decimal(bytes_of([stored])), *_fault(stored)])


def _fault(stored: StoredBuild) -> list[str]:
    return [stored.record_fault] if stored.record_fault else []


def _inspect(builds: Sequence[StoredBuild], as_json: bool) -> int:
    if as_json:
        print(json.dumps({"builds": [as_data(each, pins=True) for each in builds]}, indent=2))
    else:
        print_lines([line for each in builds for line in _described(each)])
    return OK


def _described(stored: StoredBuild) -> list[str]:
    lines = [
        title(stored),
        f"  digest      {stored.digest}",
        f"  path        {stored.path}",
        f"  state       {', '.join(filter(None, [stored.state, _IN_USE[stored.is_in_use]]))}",
        f"  last used   {_instant(stored.last_used)}",
        f"  on disk     {decimal(bytes_of([stored]))}",
    ]
    if stored.state == "failed":
        lines.append(f"  log         {failed_log(stored.build)}")
    lines += [f"  record      {fault}" for fault in _fault(stored)]
    if (record := stored.record) is not None:
        python = record.spec.interpreter
        lines += [
            f"  python      {python.implementation} {python.version}, {python.executable}",
            f"  options     {' '.join(record.spec.pip_install_options) or 'none'}",
            f"  installer   {record.installer.name}: {record.installer.reason}",
            f"  from        {', '.join(record.sources) or 'nobody knows where'}",
            f"  built       {record.built_at} in {record.seconds} s by user id {record.built_by.uid} "
            f"on {record.built_by.host}",
            *(f"  installed   {name} {version}" for name, version in record.pins.items()),
        ]
    return lines


def _verify(builds: Sequence[StoredBuild], digest: str | None, as_json: bool) -> int:
    from cosmos_venv.environments.verification import verify

    wanted = [each for each in (select(builds, digest) if digest else builds) if each.is_whole]
    if digest and not wanted:
        raise CosmosValueError(f"DIGEST {digest!r}: no build of it was finished, so there is nothing to verify.")
    faults = [(each, verify(each)) for each in wanted]
    if as_json:
        verified = [
            {"digest": each.digest, "generation": each.generation, "path": str(each.path), "faults": found}
            for each, found in faults
        ]
        print(json.dumps({"builds": verified}, indent=2))
    else:
        print_lines([f"{title(each)}: {'; '.join(found) or 'as it was built'}" for each, found in faults])
    return WRONG if any(found for _, found in faults) else OK


def _instant(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, tz=timezone.utc).isoformat(timespec="seconds")
