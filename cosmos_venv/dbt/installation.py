"""The dbt that an environment has installed, and the check that an environment must pass before dbt tasks use it.

Versions are read from the files of the environment. dbt is not started for this: a start takes longer than most of the
work that needs the answer.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from cosmos_venv.dbt.native.program import DRIVER_ADVICE, MAGIC, is_native

PARTS_OF_DBT = (
    "dbt-adapters",
    "dbt-common",
    "dbt-core",
    "dbt-core-experimental-parser",
    "dbt-extractor",
    "dbt-protos",
    "dbt-semantic-interfaces",
)
"""Distributions that every dbt 1 has. Any other distribution that is called ``dbt-…`` may be an adapter."""

DBT_DISTRIBUTIONS = ("dbt-core", "dbt", "dbt-oss")
"""Distributions that bring the command ``dbt``."""

# The folders of dbt, its adapters and its other parts: dbt-2.0.9.dist-info, dbt_core-1.11.2.dist-info.
_IS_OF_DBT = re.compile(r"dbt[-_].*\.dist-info").fullmatch

# Run by the environment's own Python. dbt 1 is a Python package: it is only imported, since `dbt --version` would ask
# the package index for newer versions. dbt 2 is a native program, with or without packages beside it, and says its
# version offline. Versions are read from the names of folders: importlib.metadata would take as long as all the rest
# where dbt does not import it itself.
DBT_CHECK = f"""
import importlib, importlib.util, json, os, sys

versions = {{}}
for folder in filter(os.path.isdir, sys.path):
    for entry in os.listdir(folder):
        stem, suffix = os.path.splitext(entry)
        if suffix in (".dist-info", ".egg-info"):
            name, _, version = stem.partition("-")
            versions.setdefault(name.lower().replace("_", "-").replace(".", "-"), version)

def is_program(path):
    try:
        with open(path, "rb") as file:
            return file.read(4) in {MAGIC!r}
    except OSError:
        return False

def has_python_package():
    try:
        return importlib.util.find_spec("dbt.cli") is not None
    except (ImportError, ValueError):
        return False

def check_package():
    importlib.import_module("dbt.cli.main")
    for name in sorted(set(versions).difference({PARTS_OF_DBT!r})):
        adapter = name[4:].replace("-", "_")
        if name.startswith("dbt-") and importlib.util.find_spec("dbt.adapters." + adapter):
            importlib.import_module("dbt.adapters." + adapter)
    return versions.get("dbt-core", "")

def check_program(program):
    import subprocess  # 5 ms, of the 45 that dbt 1 has for this check where nothing needs it

    environment = dict(os.environ, DO_NOT_TRACK="1", DBT_SEND_ANONYMOUS_USAGE_STATS="false")
    try:
        done = subprocess.run([program, "--version"], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        sys.exit("the program bin/dbt cannot be run here: " + str(error))
    said = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode:
        sys.exit(said + "\\nthe program bin/dbt cannot be run here: bin/dbt --version ended with exit status "
            + str(done.returncode))
    return said.splitlines()[0] if said else ""

program = os.path.join(sys.prefix, "bin", "dbt")
has_dbt_1 = has_python_package() or versions.get("dbt-core", "").startswith(("0.", "1."))
if has_dbt_1 and not is_program(program):
    found = dict(engine="python", version=check_package())
elif os.path.exists(program):
    found = dict(engine="native", version=check_program(program))
    lib = os.path.join(sys.prefix, "lib")
    if not any(name.startswith("lib") and name.endswith((".so", ".dylib")) for name in os.listdir(lib)):
        print("No database driver is in " + lib + ": where the machine has none either, dbt 2 downloads one when it"
            " runs. " + {DRIVER_ADVICE!r})
else:
    sys.exit("dbt is not installed: name dbt-core, or a dbt adapter that brings it, in py_requirements")
# Whatever has written last may not have ended its line.
print("\\n" + json.dumps({{"provides": found}}), flush=True)
"""


def identity_of(executable: str) -> str:
    """A text that identifies the dbt behind a path: the path, and each dbt package in its environment.

    For a native dbt beside such packages it also has the size: an update of dbt need not change a package. It has no
    time, since machines with equal installations share what is kept for them.

    For a dbt without packages beside it, such as a script that starts a dbt elsewhere, it has the time and size of the
    script: dbt itself then checks whether a parse file is of its version.

    :param executable: the path of the dbt.
    """
    packages, stamp = packages_beside(executable), _stamp(os.path.realpath(executable))
    if packages:
        size = stamp[1:] if is_native(executable) else ()
        return "\n".join([executable, *packages, *size])
    return "\n".join([executable, *stamp])


def packages_beside(executable: str) -> list[str]:
    """dbt's packages in the environment of this program, each with its version; the same on every machine.

    :param executable: the path of the dbt; a link is followed.
    :returns: names of folders, such as ``dbt_core-1.11.2.dist-info``.
    """
    return _dbt_packages(_site_packages(Path(os.path.realpath(executable)).parent.parent))


def adapters_beside(executable: str | os.PathLike[str]) -> set[str]:
    """The adapters in the environment of this program, by their distributions, such as ``dbt-duckdb``.

    :param executable: the path of the dbt; a link is followed.
    """
    found = set()
    for site in _site_packages(Path(os.path.realpath(executable)).parent.parent):
        names = {folder.partition("-")[0].lower().replace("_", "-") for folder in _dbt_packages([site])}
        for name in names.difference(PARTS_OF_DBT, DBT_DISTRIBUTIONS):
            if (site / "dbt" / "adapters" / name.removeprefix("dbt-").replace("-", "_")).is_dir():
                found.add(name)
    return found


def in_this_python() -> str:
    """A text that identifies the dbt that this Python would import."""
    try:
        spec = importlib.util.find_spec("dbt")
    except (ImportError, ValueError):
        spec = None
    folders = [Path(folder).parent for folder in (spec.submodule_search_locations or ())] if spec else []
    return "\n".join(["in this Python", *_dbt_packages(folders)])


def _site_packages(environment: Path) -> Iterator[Path]:
    for lib in ("lib", "lib64"):
        for python in sorted((environment / lib).glob("python3*")):
            yield from (python / name for name in ("site-packages", "dist-packages"))


def _dbt_packages(folders: Iterable[Path]) -> list[str]:
    """Names of folders such as ``dbt_core-1.11.2.dist-info``."""
    found: set[str] = set()
    for folder in folders:
        try:
            found.update(name for name in os.listdir(folder) if _IS_OF_DBT(name))  # noqa: PTH208 - names only
        except OSError:
            continue
    return sorted(found)


def _stamp(path: str) -> list[str]:
    try:
        status = os.stat(path)  # noqa: PTH116 - a text
    except OSError:
        return []
    return [str(status.st_mtime_ns), str(status.st_size)]
