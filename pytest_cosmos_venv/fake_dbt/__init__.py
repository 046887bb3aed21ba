"""A fake ``dbt``: it takes dbt's command line, prints what dbt prints, follows a test's script, and records each call.

The modules of this folder named in ``SHIPPED`` are copied unchanged into ``dbt/cli/`` of a wheel or of a fake
environment. For dbt 2, which is a native program, they and the modules in ``NATIVE`` are copied to a folder that no
``import`` finds. So they import the standard library only, for every Python that an environment may have, and each
other relatively. The modules with which PyYAML reads YAML are copied beside them: they are plain Python and import each
other relatively too.
"""

from __future__ import annotations

from pathlib import Path

from .record import RECORD_VARIABLE as RECORD_VARIABLE

_FOLDER = Path(__file__).parent
# Scripts are checked in the test's process, and reach the fake as data.
_NOT_COPIED = ("__init__.py", "rules.py")
SHIPPED = tuple(sorted(file.name for file in _FOLDER.glob("*.py") if file.name not in _NOT_COPIED))
"""The files that are copied."""
NATIVE = tuple(sorted(f"native/{file.name}" for file in _FOLDER.glob("native/*.py")))
"""The files that are copied for dbt 2 only."""
_YAML = "composer constructor error events loader nodes parser reader resolver scanner tokens".split()
_SHARE = "share/cosmos-fake-dbt"
# The first line must not name Python: implementations take a dbt whose first line names no Python for a native program.
_PROGRAM = f"""#!/bin/sh
self=$(readlink -f "$0" || echo "$0")
exec "${{self%/*}}/python" -I "${{self%/*}}/../{_SHARE}" "$@"
"""


def is_native(dbt_version: str) -> bool:
    """Whether a dbt of a version is a native program, and no Python package.

    :param dbt_version: the version, such as ``1.10.0`` or ``2.0.0a4``.
    """
    # 99 is the default version of a wheelhouse's broken packages, which stay Python packages.
    return 2 <= int(dbt_version.partition(".")[0]) < 99


def native_script(prefix: Path) -> str:
    """Return the folder that Python runs as the native ``dbt``, as the command line shows it.

    :param prefix: the folder of the environment, as Python has it.
    """
    return f"{prefix}/bin/../{_SHARE}"


def native_dbt_files(stem: str) -> dict[str, str]:
    """Return path inside a wheel -> text, for a ``dbt`` that is a program of its own.

    :param stem: the beginning of the wheel's file names, such as ``dbt_core-2.0.0a4``.
    """
    modules = _copied_to("fake_dbt", (*SHIPPED, *NATIVE))
    modules |= {"fake_dbt/__init__.py": "", "__main__.py": "from fake_dbt.native.main import cli\n\ncli()\n"}
    data = {f"{stem}.data/data/{_SHARE}/{path}": text for path, text in modules.items()}
    return {f"{stem}.data/scripts/dbt": _PROGRAM, **data}


def fake_dbt_files() -> dict[str, str]:
    """Return path below ``site-packages`` -> text, for everything that ``import dbt.cli.main`` needs.

    The ``__init__.py`` of ``dbt`` and ``dbt.adapters`` are among them, so that each file of an environment belongs to
    one distribution, and an adapter brings its own folder only.
    """
    packages = dict.fromkeys(("dbt/__init__.py", "dbt/cli/__init__.py", "dbt/adapters/__init__.py"), "")
    return {**packages, **_copied_to("dbt/cli", SHIPPED)}


def _copied_to(place: str, names: tuple[str, ...]) -> dict[str, str]:
    import yaml

    files = {name: _FOLDER / name for name in names}
    files |= {f"yaml/{name}.py": Path(yaml.__file__).with_name(f"{name}.py") for name in _YAML}
    texts = {f"{place}/{name}": file.read_text(encoding="utf-8") for name, file in files.items()}
    return {f"{place}/yaml/__init__.py": "", **texts}
