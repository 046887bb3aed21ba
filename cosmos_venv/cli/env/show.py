"""The commands ``cosmos-venv env list``, ``env show`` and ``env verify``: what stands in a ``virtualenv_dir``.

They write nothing, so a read-only mount and another user's directory can be looked at too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from cosmos_venv.cli.output import OK, WRONG, print_json, print_lines, print_table, steps
from cosmos_venv.dbt.installation import DBT_CHECK, DBT_DISTRIBUTIONS, PARTS_OF_DBT
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.environments.maintenance.inventory import (
    StoredBuild,
    Verified,
    read_inventory,
    select,
    verify,
)
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.processes.lease import users_of

SHORT = 12  # characters of a digest that people are shown; as many tell environments apart

_Found = Sequence[tuple[StoredBuild, Verified]]

_IN_USE = {True: "in use", False: "", None: "use unknown"}
_HEADINGS = ("environment", "state", "use", "last used", "on disk", "dbt", "requirements")


def env_list(directory: Path, *, as_json: bool) -> int:
    """List the builds of a directory.

    :param directory: a ``virtualenv_dir``.
    :param as_json: whether stdout gets JSON in place of a table.
    :returns: the exit code.
    :raises VirtualenvError: when it cannot be read.
    :raises CosmosValueError: when it is no directory.
    """
    builds = read_inventory(EnvironmentStore(directory))
    with steps("adding up what is on disk", len(builds), as_json=as_json) as step:
        for each in builds:
            _ = each.bytes_on_disk  # kept with it
            step.end()
    total = sum(each.bytes_on_disk for each in builds)
    if as_json:
        listed = [as_data(each) for each in builds]
        print_json({"virtualenv_dir": str(directory), "bytes": total, "builds": listed})
    elif not builds:
        print_lines([f"{directory} holds no managed environment."])
    else:
        print_table(_HEADINGS, [_row(each) for each in builds])
        print_lines([f"{decimal(total)} on disk together"])
    return OK


def env_show(directory: Path, name: str, *, as_json: bool) -> int:
    """Show all that is known of an environment.

    :param directory: a ``virtualenv_dir``.
    :param name: the first characters of its digest, or one build as ``<digest>-<suffix>``.
    :param as_json: whether stdout gets JSON in place of lines to read.
    :returns: the exit code.
    :raises VirtualenvError: when the directory cannot be read.
    :raises CosmosValueError: when the name fits nothing.
    """
    builds = select(read_inventory(EnvironmentStore(directory)), name)
    if as_json:
        print_json({"virtualenv_dir": str(directory), "builds": [_all_of(each) for each in builds]})
    else:
        print_lines([line for each in builds for line in _described(each)])
    return OK


def env_verify(directory: Path, name: str | None, *, imports: bool, content: bool, as_json: bool) -> int:
    """Verify finished builds.

    :param directory: a ``virtualenv_dir``.
    :param name: only these, as for ``env_show``; None: all.
    :param imports: whether each is to import dbt and its adapters.
    :param content: whether every file is read and compared with the hash that its installer has noted.
    :param as_json: whether stdout gets JSON in place of lines to read.
    :returns: the exit code, 1 when something is wrong with a build.
    :raises VirtualenvError: when the directory cannot be read.
    :raises CosmosValueError: when it is none, or the name fits nothing that was finished.
    """
    from cosmos_venv.managed.from_settings import environment_store

    store = environment_store(directory)
    builds = read_inventory(store)
    wanted = [each for each in (select(builds, name) if name else builds) if each.state == "ready"]
    if name and not wanted:
        raise CosmosValueError(f"NAME {name!r}: no build of it is ready, so there is nothing to verify.")
    found = []
    with steps("verifying", len(wanted), as_json=as_json) as step:
        for each in wanted:
            step.begin(f"verifying {name_of(each)}")
            check = DBT_CHECK if imports and _has_dbt(each) else None
            found.append((each, verify(each, check=check, content=content)))
            step.end()
    lock = _state_of_lock(store)
    if as_json:
        print_json({"virtualenv_dir": str(directory), "lock": lock, "builds": _verified_data(found, was_read=content)})
    else:
        lines = [
            f"{title(each)}: {'; '.join(verified.faults) or _whole(each, verified, was_read=content)}"
            for each, verified in found
        ]
        print_lines([*lines, f"lock: {lock['state']}" + (f" ({lock['detail']})" if lock["detail"] else "")])
    return WRONG if any(verified.faults for _, verified in found) else OK


def as_data(stored: StoredBuild, *, pins: bool = False) -> dict[str, Any]:
    """Return a build as JSON shows it. No credential is in it.

    :param stored: the build.
    :param pins: whether the version of each distribution is wanted.
    """
    import msgspec

    record = msgspec.to_builtins(stored.record)
    if record and not pins:
        del record["pins"]
    return {
        "name": name_of(stored),
        "digest": stored.digest,
        "suffix": stored.suffix,
        "state": stored.state,
        "in_use": stored.is_in_use,
        "last_used": _instant(stored.last_used),
        "bytes": stored.bytes_on_disk,
        "path": str(stored.path),
        "dbt": dbt_of(stored.record.pins) if stored.record else {},
        "record": record,
    }


def name_of(stored: StoredBuild) -> str:
    """Return the name of an environment on the command line.

    :param stored: a build of it.
    """
    return f"{stored.digest[:SHORT]}-{stored.suffix}"


def title(stored: StoredBuild) -> str:
    """Return the name by which people know an environment.

    :param stored: a build of it.
    """
    return f"{name_of(stored)}  {_requirements(stored)}".rstrip()


def dbt_of(pins: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of dbt and its adapters: distribution -> version.

    :param pins: versions of all that is installed.
    """
    return {
        name: version
        for name, version in pins.items()
        if name in DBT_DISTRIBUTIONS or (name.startswith("dbt-") and name not in PARTS_OF_DBT)
    }


def _requirements(stored: StoredBuild) -> str:
    return ", ".join(stored.record.spec.requirements) or "no requirements" if stored.record else ""


def _row(stored: StoredBuild) -> tuple[str, ...]:
    return (
        name_of(stored),
        stored.state,
        _IN_USE[stored.is_in_use],
        _instant(stored.last_used) or "never",
        decimal(stored.bytes_on_disk),
        _versions(stored),
        _requirements(stored),
    )


def _versions(stored: StoredBuild) -> str:
    if stored.record is None:
        return ""
    found, provides = dbt_of(stored.record.pins), stored.record.provides
    versions = [f"{name.removeprefix('dbt-')} {version}" for name, version in found.items()]
    if provides and found.keys().isdisjoint(DBT_DISTRIBUTIONS):  # a private build has a name of its own
        versions.insert(0, provides.get("version") or "dbt of unknown version")
    return ", ".join(versions) + (" (native)" if stored.engine == "native" else "")


def _engine(stored: StoredBuild) -> str:
    """The kind of its dbt and the version, such as ``native dbt-core 2.0.0``; of an older record only the version."""
    provides = stored.record.provides if stored.record else {}
    return " ".join(filter(None, (provides.get("engine"), provides.get("version")))) or _versions(stored)


def _all_of(stored: StoredBuild) -> dict[str, Any]:
    from cosmos_venv.cli.server import server_data

    used_by = _users(stored)
    servers = [server_data(each) for each in _servers_of(stored)]
    return {**as_data(stored, pins=True), "used_by": used_by, "servers": servers}


def _users(stored: StoredBuild) -> list[dict[str, Any]]:
    """The processes that use it now. What they were started with stays unsaid: there may be a secret in it."""
    import psutil

    found = []
    for pid in users_of(stored.path):
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                since = _instant(process.create_time())
                found.append({"pid": pid, "name": process.name(), "user": process.username(), "since": since})
        except psutil.Error:
            continue  # it has just ended
    return found


def _servers_of(stored: StoredBuild) -> Sequence[Any]:
    from cosmos_venv.dbt.warm.status import running_servers

    return running_servers(below=stored.path)


def _described(stored: StoredBuild) -> list[str]:
    from cosmos_venv.cli.server import server_line

    lines = [
        title(stored),
        f"  digest      {stored.digest}",
        f"  path        {stored.path}",
        f"  state       {', '.join(filter(None, [stored.state, _IN_USE[stored.is_in_use]]))}",
        *(f"  used by     process {each['pid']} ({each['name']}) of {each['user']}" for each in _users(stored)),
        *(f"  server      {server_line(each)}" for each in _servers_of(stored)),
        f"  last used   {_instant(stored.last_used) or 'never'}",
        f"  on disk     {decimal(stored.bytes_on_disk)}",
    ]
    return [*lines, *_recorded(stored)]


def _recorded(stored: StoredBuild) -> list[str]:
    if (record := stored.record) is None:
        return []
    python = record.spec.interpreter
    return [
        f"  dbt         {_versions(stored) or 'none'}",
        *([f"  engine      {engine}"] if (engine := _engine(stored)) else []),
        f"  python      {python.implementation} {python.version}, {python.executable}",
        f"  options     {' '.join(record.spec.pip_install_options) or 'none'}",
        f"  installer   {record.installer.name}: {record.installer.reason}",
        f"  from        {', '.join(record.sources) or 'nobody knows where'}",
        f"  built       {record.built_at} in {record.seconds} s by user id {record.built_by.uid} "
        f"on {record.built_by.host}",
        *([f"  fetched     from {record.fetched_from}"] if record.fetched_from else []),
        *(f"  library     {each.source}" for each in record.spec.libraries),
        *(f"  installed   {name} {version}" for name, version in record.pins.items()),
    ]


def _instant(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, tz=timezone.utc).isoformat(timespec="seconds")


def _has_dbt(stored: StoredBuild) -> bool:
    """Whether it was built to have one of its own: then it must import it."""
    record = stored.record
    return record is not None and bool(record.provides or not record.pins.keys().isdisjoint(DBT_DISTRIBUTIONS))


def _whole(stored: StoredBuild, verified: Verified, *, was_read: bool) -> str:
    from cosmos_venv.dbt.native.engine import engine_of

    looked_at = (
        "links, commands and the content of all files" if was_read else "links, commands and the sizes of all files"
    )
    engine = engine_of(stored.path / "bin" / "dbt", recorded=stored.engine)
    can = "imported" if engine.has_python_api else "run"
    return f"{looked_at} are as installed" + (f", dbt can be {can}: {_engine(stored)}" if verified.has_run else "")


def _verified_data(found: _Found, *, was_read: bool) -> list[dict[str, Any]]:
    return [
        {
            "name": name_of(each),
            "digest": each.digest,
            "suffix": each.suffix,
            "path": str(each.path),
            "provides": dict(each.record.provides) if each.record else {},
            "was_run": verified.has_run,
            "was_read": was_read,
            "faults": verified.faults,
        }
        for each, verified in found
    ]


def _state_of_lock(store: EnvironmentStore) -> dict[str, str | None]:
    """``free``, ``held``, or ``unknown``; and what is to be said of its owner."""
    lines: list[str] = []
    try:
        is_free = VirtualenvLock(store.directory).is_available(report=lines.append)
    except (VirtualenvError, OSError) as error:
        return {"state": "unknown", "detail": str(error)}
    return {"state": "free" if is_free else "held", "detail": " ".join(lines) or None}
