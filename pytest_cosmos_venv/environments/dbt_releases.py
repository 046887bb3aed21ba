"""The releases of dbt that a run of tests names, each with the requirements that install it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_cosmos_venv.errors import ToolkitMisuse

DEFAULT_RELEASE = "1.11"
"""The release of dbt where a run names none."""
_RELEASE = re.compile(r"(\d+)(\.\d+)?(\.\d+\w*)?")
_CORE = re.compile(r"dbt[-_]core\s*(?:\[[^\]]*\])?\s*(?:==|~=|>=)\s*(?P<major>\d+)")
_LINE = re.compile(r"(?P<name>\S+?)\s*:\s*(?P<requirements>\S.*)")


@dataclass(frozen=True, kw_only=True)
class DbtRelease:
    """A release of dbt and what installs it.

    :param name: the name in options and test ids: ``1.11``.
    :param requirements: the requirements, as pip takes them; the adapter for DuckDB is among them.
    :param drivers: database drivers that dbt 2 loads from the environment's ``lib/``.
    """

    name: str
    requirements: tuple[str, ...]
    drivers: tuple[Path, ...] = ()

    @property
    def is_native(self) -> bool:
        """Whether it is dbt 2, whose program needs no Python: the requirement of dbt-core decides, else the name."""
        found = next(filter(None, map(_CORE.match, self.requirements)), None)
        major = found["major"] if found else self.name.partition(".")[0]
        return major.isdecimal() and int(major) >= 2


def parse_releases(named: str | None, lines: Sequence[str] = (), *, drivers: Sequence[Path] = ()) -> list[DbtRelease]:
    """Return the releases that a run names.

    :param named: the releases as ``--cosmos-dbt`` takes them, ``1.11,1.12,2``; None: the default one.
    :param lines: how some releases are installed, as the ini file says it: ``1.12: dbt-core==1.12.0 dbt-duckdb``.
    :param drivers: database drivers, which releases from 2 on get.
    :raises ToolkitMisuse: a release or a line cannot be understood.
    """
    told = _told(lines)
    releases = []
    for name in filter(None, map(str.strip, (named or DEFAULT_RELEASE).split(","))):
        requirements = told.get(name) or _requirements(name)
        release = DbtRelease(name=name, requirements=requirements)
        if release.is_native:
            release = DbtRelease(name=name, requirements=requirements, drivers=tuple(drivers))
        if release not in releases:
            releases.append(release)
    if not releases:
        raise ToolkitMisuse(f"--cosmos-dbt={named}: it names no release. Name some such as 1.11,1.12,2.")
    return releases


def _told(lines: Sequence[str]) -> dict[str, tuple[str, ...]]:
    told = {}
    for line in lines:
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ToolkitMisuse(
                f"cosmos_dbt_requirements in the ini file: {line!r} names no release. Write RELEASE: REQUIREMENT ..., "
                "such as 1.12: dbt-core==1.12.0 dbt-duckdb."
            )
        told[match["name"]] = tuple(match["requirements"].split())
    return told


def _requirements(name: str) -> tuple[str, ...]:
    match = _RELEASE.fullmatch(name)
    if match is None:
        raise ToolkitMisuse(
            f"--cosmos-dbt: {name!r} is no release of dbt. Name some such as 1.11,1.12,2, or say in the ini file how "
            f"it is installed: cosmos_dbt_requirements = {name}: dbt-core==..."
        )
    major, minor, patch = match.groups()
    # dbt 2 has pre-releases only: a specifier without a pre-release takes none of these.
    first = "0" if major == "1" else "0a0"
    if patch:
        core = f"dbt-core=={name}"
    elif minor:
        core = f"dbt-core~={name}.{first}"
    else:
        core = f"dbt-core>={major}.0.{first},<{int(major) + 1}"
    # dbt 2 has its adapters inside.
    return (core, "dbt-duckdb") if major == "1" else (core,)
