"""The program itself: told from a Python script, its database driver found, its command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from cosmos_venv.exceptions import CosmosValueError

# Of ELF (Linux) and of Mach-O (macOS, each byte order and both in one).
MAGIC = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xca\xfe\xba\xbe")
"""The first bytes of a program."""
LIBRARY_ENDINGS = (".so", ".dylib")
"""How the name of a driver ends, a shared library: on Linux, and on macOS."""
DRIVER_ADVICE = (
    "Where there is no internet, name the driver: adbc_drivers=[PATH OR DISTRIBUTION] of the operator, or "
    "[cosmos_venv] virtualenv_adbc_drivers (docs/how-to/environments/dbt-versions.md tells where to get one)."
)
"""What to do about a database driver that dbt 2 would download: each place that misses one says it."""
_WITHOUT_DATABASE = ("ls", "list", "parse", "deps")
_DRIVER_NAMES = {"postgres": "postgresql"}  # of adapters that have another name
# Where a program's loader looks, beside LD_LIBRARY_PATH; Debian has a folder for each architecture.
_DEBIANS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu")
_LIBRARY_FOLDERS = ("/usr/local/lib", "/usr/lib", "/usr/lib64", "/lib", *_DEBIANS)


def is_binary(executable: str | Path) -> bool:
    """Whether a file is a program of its own, as dbt 2 is, and no script: a script may start any dbt.

    For a question about the file; ``engine_of`` says what a dbt can do.

    :param executable: its path; False where nothing can be read there.
    """
    try:
        with open(executable, "rb") as file:  # noqa: PTH123 - each task comes by here
            return file.read(4) in MAGIC
    except OSError:
        return False


def missing_driver(executable: str | Path, adapter: str, environment: Mapping[str, str]) -> str | None:
    """A clause on the database driver that dbt 2 will download when it runs; None where it finds one.

    The places are those in which dbt 2.0.0a4 was seen to look. For another database than DuckDB it looks into ``lib/``
    only where ``DBT_LOAD_STANDARD_<NAME>_DRIVER`` is set. What it has downloaded before does not count: it takes no
    other version than its own.

    :param executable: the path of the dbt.
    :param adapter: the ``type`` of the profile's target, such as ``duckdb``.
    :param environment: the environment variables of the dbt command.
    """
    lib = Path(executable).parent.parent / "lib"
    home = Path(environment.get("HOME") or "~").expanduser()
    name = _DRIVER_NAMES.get(adapter, adapter)
    described, library = f"{name}.toml", f"lib{name}"
    looks = True
    if adapter != "duckdb":
        described, library = f"adbc_driver_{name}.toml", f"libadbc_driver_{name}"
        looks = bool(environment.get(f"DBT_LOAD_STANDARD_{name.upper()}_DRIVER"))
    listed = environment.get("ADBC_DRIVER_PATH", "").split(os.pathsep)
    folders = [lib, home / ".config/adbc/drivers", Path("/etc/adbc/drivers"), *map(Path, filter(None, listed))]
    loaded = environment.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    libraries = [lib, *map(Path, filter(None, loaded)), *map(Path, _LIBRARY_FOLDERS)]
    is_there = looks and (
        any((folder / described).is_file() for folder in folders)
        or any((folder / f"{library}{ending}").is_file() for folder in libraries for ending in LIBRARY_ENDINGS)
    )
    return None if is_there else f"it finds no driver for {adapter} in {lib}, and downloads one where it has not before"


def download_warning(
    executable: str | Path,
    command: str,
    profiles_yml: Path,
    *,
    profile: str,
    target: str,
    environment: Mapping[str, str],
) -> str | None:
    """A warning that dbt 2 will download a database driver; None where it finds one, or needs none.

    :param executable: the path of the dbt.
    :param command: the first word of its command, such as ``run``.
    :param profiles_yml: the file of its profile.
    :param profile: the name of the profile in it.
    :param target: the name of the target in the profile.
    :param environment: the environment variables of the dbt command.
    """
    from cosmos_venv.dbt.project_files import profile_fields  # only where such a dbt runs

    if command in _WITHOUT_DATABASE:
        return None
    try:
        field = profile_fields(profiles_yml, profile=profile, target=target, environment=environment)
        missing = missing_driver(executable, str(field("type")), environment)
    except (CosmosValueError, OSError):
        return None  # dbt will say what is wrong with the profile
    return f"dbt 2: {missing}. {DRIVER_ADVICE}" if missing else None


def has_driver(environment: Path) -> bool:
    """Whether a database driver stands in the environment, whichever database it is for.

    For where no profile is known; ``missing_driver`` looks for the one that a profile needs, where dbt does.

    :param environment: its folder.
    """
    return any(True for ending in LIBRARY_ENDINGS for _ in (environment / "lib").glob(f"lib*{ending}"))


def dbt_2_command_line(words: Sequence[str]) -> list[str]:
    """A command line for dbt 2, which has another command for the docs and says so, doing nothing.

    :param words: the command line, with the executable.
    """
    found = next((at for at, pair in enumerate(pairwise(words)) if pair == ("docs", "generate")), None)
    if found is None:
        return list(words)
    return [*words[:found], "compile", "--write-catalog", *words[found + 2 :]]
