"""Checks of the hosts that an environment asks beside its package index: while it is built, and when its dbt runs.

No host that files come from stands in this package. The tools run behind a proxy on loopback, which writes down whom
they ask. dbt-core 1.12 downloads a program while one of its packages is built; dbt 2 downloads a database driver when
it runs, where it finds none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cosmos_venv.cli.doctor.check_result import CheckResult, Examined, Outcome
from cosmos_venv.cli.doctor.recording_proxy import RecordingProxy
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError

# Complete enough for dbt 2 to look for the driver, and no more. A driver that it finds may ask for them; the proxy lets
# nothing through.
_TARGETS: dict[str, dict[str, object]] = {
    "duckdb": {"path": "doctor.duckdb"},
    "snowflake": {"account": "a", "user": "u", "password": "p", "database": "d", "schema": "s", "warehouse": "w"},
    "bigquery": {"method": "oauth", "project": "p", "dataset": "d"},
    "databricks": {"host": "h.invalid", "http_path": "/p", "token": "t", "schema": "s", "catalog": "c"},
    "redshift": {"host": "h.invalid", "user": "u", "password": "p", "port": 5439, "dbname": "d", "schema": "s"},
}
# What the hosts end in that a driver asks then: no download.
_DATABASES = {
    "snowflake": (".snowflakecomputing.com",),
    "bigquery": ("bigquery.googleapis.com", "oauth2.googleapis.com", "metadata.google.internal"),
    "databricks": ("h.invalid",),
    "redshift": ("h.invalid",),
}
ADAPTERS = tuple(_TARGETS)
"""The databases whose driver can be asked for."""
_WITHOUT_CACHES = {"UV_NO_CACHE": "1", "PIP_NO_CACHE_DIR": "1"}
# What dbt reports of its use is no need of a run.
_WITHOUT_REPORTS = {"DO_NOT_TRACK": "1", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
_LONGEST_RUN = 120.0
_TRY_OUT = "Try out what was built: cosmos-venv env verify."
_OPEN_WAYS = "Let this host reach it, or take a way around (docs/how-to/environments/dbt-versions.md)."


def hosts_are_known(examined: Examined) -> Iterator[CheckResult]:
    """Yield a result for each environment: of the requirements, which is built for it, and of those with a native dbt
    that stand in the directories.

    :param examined: its requirements and directories are looked at.
    """
    if examined.requirements:
        yield from _of_requirements(examined)
    for build in _builds_that_need_drivers(examined.directories):
        yield from _at_run_time(build, str(build), examined.adapters)


def _of_requirements(examined: Examined) -> Iterator[CheckResult]:
    from cosmos_venv.processes.scratch import scratch_folder

    subject = ", ".join(examined.requirements)
    words = [word for each in examined.requirements for word in ("--requirement", each)]
    words += [word for each in examined.adbc_drivers for word in ("--adbc-driver", each)]
    with scratch_folder("cosmos-venv-doctor-") as scratch, RecordingProxy(passes=True, beyond=_pips_proxy()) as proxy:
        variables = proxy.variables(os.environ) | _WITHOUT_CACHES
        index = _asked_for_the_index(proxy, variables)
        directory = scratch / "environments"
        command = [sys.executable, "-m", "cosmos_venv.cli", "env", "warm", "--dir", str(directory), "--json", *words]
        done = subprocess.run(
            command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        beside = {name: problem for name, problem in proxy.asked.items() if name not in index}
        yield _at_build_time(subject, index, beside, _failure(done))
        for build in _builds_that_need_drivers([directory]):
            yield from _at_run_time(build, subject, examined.adapters)


def _asked_for_the_index(proxy: RecordingProxy, variables: Mapping[str, str]) -> tuple[str, ...]:
    """The hosts that a dry run asks, for which nothing is built: the index, and what serves its files."""
    from cosmos_venv.cli.doctor.dbt_check import try_index
    from cosmos_venv.managed.from_settings import installer

    with suppress(VirtualenvError, CosmosValueError):  # told by another check
        try_index(installer(), variables, within=_LONGEST_RUN)
    return tuple(proxy.asked)


def _failure(done: subprocess.CompletedProcess[str]) -> str:
    """Why nothing was built, in words; empty: it was."""
    if not done.returncode:
        return ""
    try:
        said = json.loads(done.stdout)
    except ValueError:
        return done.stderr.strip() or f"exit code {done.returncode}"
    error = str(said.get("error") or said["environments"][0]["error"])
    # What the installer has written stands below; `env warm` shows it.
    return error.partition("\n")[0].removesuffix(" It said:").rstrip(".")


def _at_build_time(subject: str, index: Sequence[str], beside: Mapping[str, str], failure: str) -> CheckResult:
    text = f"To build it, {_told(beside)}, beside the index ({', '.join(index) or 'on this machine'})."
    if failure:
        text = f"{text} It could not be built: {failure}."
    if failure or any(beside.values()):
        return CheckResult(check="hosts", subject=subject, outcome="failed", text=text, way_out=_OPEN_WAYS)
    return CheckResult(check="hosts", subject=subject, outcome="ok", text=text)


def _at_run_time(build: Path, subject: str, adapters: Sequence[str]) -> Iterator[CheckResult]:
    """Let dbt look for the driver of each database, with nothing that it has downloaded before."""
    from cosmos_venv.processes.scratch import scratch_folder

    for adapter in adapters:
        with scratch_folder("cosmos-venv-doctor-") as scratch, RecordingProxy(passes=False) as proxy:
            _write_project(scratch, adapter)
            # Drivers that this user has installed count; those that dbt has downloaded are below ~/.cache.
            (scratch / ".config").symlink_to(Path.home() / ".config")
            variables = proxy.variables(_without_dbts_own(os.environ)) | _WITHOUT_REPORTS | {"HOME": str(scratch)}
            command = [str(build / "bin" / "dbt"), "debug", "--profiles-dir", str(scratch)]
            try:
                done = subprocess.run(
                    command,
                    env=variables,
                    cwd=scratch,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    encoding="utf-8",
                    errors="replace",
                    timeout=_LONGEST_RUN,
                    check=False,
                )
                failure = _words_of_dbt(done) if done.returncode else ""
            except (OSError, subprocess.TimeoutExpired) as error:
                if not proxy.asked:
                    text = f"bin/dbt cannot be run here: {error}."
                    yield CheckResult(check="hosts", subject=subject, outcome="failed", text=text, way_out=_TRY_OUT)
                    continue
                failure = str(error)  # it has waited for a host that is known by now
        yield _at_run_time_on(adapter, subject, proxy.asked, failure)


def _without_dbts_own(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables without those that lead dbt to another project, profile or target, where it fails beforehand."""
    # By these it looks for a driver in lib/.
    kept = "DBT_LOAD_STANDARD_"
    return {name: value for name, value in environ.items() if not name.startswith("DBT_") or name.startswith(kept)}


def _words_of_dbt(done: subprocess.CompletedProcess[str]) -> str:
    """The first error in dbt's output, else its last line."""
    from cosmos_venv.dbt.native.output import is_stack, without_code

    lines = [line.strip() for line in done.stdout.splitlines() if line.strip() and not is_stack(line)]
    first = next((line for line in lines if line.startswith("[error]")), None)
    return without_code(first or (lines[-1] if lines else f"exit code {done.returncode}"))


def _at_run_time_on(adapter: str, subject: str, asked: Mapping[str, str], failure: str) -> CheckResult:
    from cosmos_venv.dbt.native.program import DRIVER_ADVICE

    ends = _DATABASES.get(adapter, ())
    downloads = {name: problem for name, problem in asked.items() if not name.rpartition(":")[0].endswith(ends)}
    told, way_out = f"{_told(downloads)}.", ""
    outcome: Outcome = "ok"
    if downloads:
        outcome = "failed" if any(downloads.values()) else "warning"
        way_out = f"dbt downloads a database driver. {DRIVER_ADVICE}"
    elif asked:
        told = "no host is asked beside that of the database."
    elif failure:  # before it came to the driver, or with one that goes past a proxy
        outcome, way_out = "warning", _TRY_OUT
        told = f"nothing is known of hosts: dbt debug has failed and asked none. It said: {failure}"
    text = f"To run on {adapter}, {told}"
    return CheckResult(check="hosts", subject=subject, outcome=outcome, text=text, way_out=way_out)


def _write_project(folder: Path, adapter: str) -> None:
    target = {"type": adapter, **_TARGETS[adapter]}
    profiles = {"doctor": {"target": "dev", "outputs": {"dev": target}}}
    (folder / "profiles.yml").write_text(json.dumps(profiles), encoding="utf-8")  # JSON is YAML
    project = {"name": "doctor", "version": "1.0", "profile": "doctor"}
    (folder / "dbt_project.yml").write_text(json.dumps(project), encoding="utf-8")


def _told(asked: Mapping[str, str]) -> str:
    if not asked:
        return "no host is asked"
    each = (
        f"{name} is asked, which does not answer ({problem})" if problem else f"{name} is asked, which answers"
        for name, problem in asked.items()
    )
    return "; ".join(each)


def _builds_that_need_drivers(directories: Sequence[Path]) -> Iterator[Path]:
    from cosmos_venv.dbt.native.engine import engine_of
    from cosmos_venv.environments.maintenance.inventory import read_inventory
    from cosmos_venv.environments.store import EnvironmentStore

    for directory in directories:
        try:
            builds = read_inventory(EnvironmentStore(directory))
        except (VirtualenvError, CosmosValueError):
            continue  # told by another check
        for each in builds:
            engine = engine_of(each.path / "bin" / "dbt", recorded=each.engine)
            if each.state == "ready" and not engine.brings_drivers:
                yield each.path


def _pips_proxy() -> str:
    """The proxy that a configuration of pip names, which would keep pip from ours."""
    from cosmos_venv.environments.installers.pip_config import pip_configuration

    named = [each.value for each in pip_configuration(os.environ) if each.name == "proxy"]
    return named[-1] if named else ""
