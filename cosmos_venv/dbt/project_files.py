"""The content of dbt_project.yml, packages.yml and profiles.yml, and the environment variables that files of a project
ask for.

Everything is read from the files alone, without dbt. Where only dbt can know a value, it is marked as unknown, and then
commands share nothing. A field of a profile is rendered on first use: most fields are for dbt alone.

The name of an environment variable is found in the text when it is a literal. A name that Jinja computes
(``env_var('PORT_' ~ target.name)``) is known to dbt alone. dbt notes in its parse file which variables it has read
while it parsed. As tried with dbt 1.10 and 1.11, it does not note the variables of ``dbt_project.yml``,
``selectors.yml``, the profile, package files and descriptions.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.files.os_errors import reason_of
from cosmos_venv.files.read_limits import read_file
from cosmos_venv.files.yaml_files import load_yaml

# A call, with the name of the variable when it is a literal. In YAML the quotes may be doubled or escaped.
_CALL = re.compile(rb"""\benv_var\b(?:\s*\(\s*(?:''|\\?['"])(?P<name>[^'"\\]+)(?:''|\\?['"])\s*[,)])?""")
# Comments and raw blocks are not rendered. A block without an end is an error of dbt.
_JINJA = re.compile(
    rb"\{#.*?#\}|\{%-?\s*raw\b.*?\bendraw\s*-?%\}|(?P<rendered>\{\{.*?(?:\}\}|\Z)|\{%.*?(?:%\}|\Z))", re.DOTALL
)
# A call of ``env_var`` with one filter at most: the ``as_`` filters of dbt set the YAML type, ``int`` and ``string``
# keep the text.
_ENV_VAR = re.compile(
    r"""\{\{-?\s*env_var\(\s*(?P<quote>['"])(?P<name>[^'"]+)(?P=quote)\s*"""
    r"""(?:,\s*(?:(?P<mark>['"])(?P<default>[^'"]*)(?P=mark)|(?P<number>\d+))\s*)?\)\s*(?:\|\s*(?:as_\w+|int|string)\s*)?-?\}\}"""
)
_ROUNDS = 5_000  # some milliseconds, which every parse pays


@dataclass(frozen=True)
class EnvVars:
    """The environment variables that one or several texts ask for.

    :param names: literal names; some may never be read, such as a name in a comment.
    :param computed: the calls whose name is known only when they run, as ``models/a.sql, line 3``.
    """

    names: frozenset[str] = frozenset()
    computed: tuple[str, ...] = ()

    @classmethod
    def of_all(cls, found: Iterable[EnvVars]) -> EnvVars:
        """The variables of several texts together.

        :param found: the variables of each text.
        """
        each = list(found)
        return cls(
            frozenset().union(*(one.names for one in each)),
            tuple(computed for one in each for computed in one.computed),
        )


def env_vars_in(content: bytes, file: str) -> EnvVars:
    """The variables that a file asks for.

    :param content: the content of the file.
    :param file: its path below its project or package, for the calls whose name is computed.
    """
    found = list(_CALL.finditer(content))
    names = frozenset(os.fsdecode(call["name"]) for call in found if call["name"])
    if all(call["name"] for call in found) or file.endswith(".py"):  # dbt renders no Python
        return EnvVars(names)
    rendered = [part.span() for part in _JINJA.finditer(content) if part["rendered"]]
    places = [call.start() for call in found if not call["name"]]
    computed = [place for place in places if any(begin < place < end for begin, end in rendered)]
    lines = [content.count(b"\n", 0, place) + 1 for place in computed]
    return EnvVars(names, tuple(f"{file}, line {line}" for line in lines))


def digest_of_values(env: Mapping[str, str], names: Iterable[str]) -> str:
    """A digest of the values of variables; empty when none of them is set.

    Passwords may be among them, and the digest becomes part of the name of a file that others may see. So it is slow
    (PBKDF2): to try out values takes thousands of times as long as with a plain digest.

    :param env: the environment variables.
    :param names: names of the variables that count.
    """
    values = {name: env[name] for name in sorted(names) if name in env}
    text = json.dumps(values).encode(errors="surrogateescape")
    return hashlib.pbkdf2_hmac("sha256", text, b"cosmos-venv", _ROUNDS).hex() if values else ""


PACKAGE_FILES = ("packages.yml", "dependencies.yml")
LOCK_FILE = "package-lock.yml"

# Credentials, in dbt's own convention. Another password installs the same packages.
_UNCOUNTED_PREFIX = "DBT_ENV_SECRET"
_HUB = "DBT_PACKAGE_HUB_URL"


@dataclass(frozen=True, kw_only=True)
class PackageFiles:
    """The content of the package files of a project and of its local packages.

    :param contents: path below the project -> text.
    :param local: the paths of local packages, as they are written.
    :param unknown: why the list may be incomplete, in words, such as a path that Jinja computes; empty: it is complete.
    """

    contents: Mapping[str, str]
    local: tuple[str, ...] = ()
    unknown: str = ""

    def digest(self, *, variables: str, env: Mapping[str, str], which_dbt: str) -> str | None:
        """A digest that is equal for equal packages of ``dbt deps``; None when only dbt can tell the packages.

        :param variables: the value of ``--vars``; counts only where the files have Jinja in them.
        :param env: what ``env_var()`` sees; the variables that the files name count, except dbt's secret ones.
        :param which_dbt: a text that identifies dbt: another dbt has another text.
        """
        if self.why_unknown:
            return None
        counting = sorted({_HUB, *(name for name in self._env_vars.names if not name.startswith(_UNCOUNTED_PREFIX))})
        key = [
            sorted(self.contents.items()),
            variables if any(map(_has_jinja, self._asking.values())) else "",
            [(name, env.get(name)) for name in counting],
            which_dbt,
        ]
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()

    @property
    def why_unknown(self) -> str:
        """Why only dbt can tell which packages ``dbt deps`` installs; empty where the files tell it."""
        computed = next(iter(self._env_vars.computed), "")
        return self.unknown or (f"{computed} computes the name of an environment variable" if computed else "")

    @cached_property
    def _env_vars(self) -> EnvVars:
        return EnvVars.of_all(env_vars_in(text.encode(), path) for path, text in self._asking.items())

    @property
    def _asking(self) -> dict[str, str]:
        """The files that ask for packages."""
        return {path: text for path, text in self.contents.items() if not path.endswith("dbt_project.yml")}


def has_packages(project_dir: Path) -> bool:
    """Whether the project lists packages that ``dbt deps`` would install.

    :param project_dir: the folder of the dbt project.
    """
    return any((file := project_dir / name).is_file() and file.stat().st_size > 0 for name in PACKAGE_FILES)


def read_package_files(project_dir: Path) -> PackageFiles:
    """The package files of the project and of its local packages, to any depth. dbt resolves paths from the project.

    :param project_dir: the folder of the dbt project.
    """
    contents: dict[str, str] = {}
    local: list[str] = []
    unknown = ""
    todo = [""]
    while todo:
        package = todo.pop(0)
        folder = local_package(project_dir, package)
        for name in (*PACKAGE_FILES, "dbt_project.yml" if package else LOCK_FILE):
            path = os.path.join(package, name)  # noqa: PTH118 - a name, and no path of this machine
            try:
                text = read_file(folder / name).decode("utf-8", errors="backslashreplace")
            except OSError:
                continue
            contents[path] = text
            found = _local_paths(text) if name in PACKAGE_FILES else []
            unknown = unknown or _why_unknown(path, text, found)
            new = [path for path in found or () if path not in local]
            local += new
            todo += new
    return PackageFiles(contents=contents, local=tuple(local), unknown=unknown)


def local_package(project_dir: Path, path: str) -> Path:
    """The folder in which a local package stands.

    :param project_dir: the folder of the dbt project.
    :param path: of the package, as it is written in ``packages.yml``.
    """
    return Path(os.path.normpath(project_dir.resolve() / os.path.expanduser(path)))  # noqa: PTH111 - as dbt does it


def outside(paths: tuple[str, ...]) -> list[Path]:
    """The relative paths that lead out of the project (``../shared``), shortest first, as dbt sees them.

    :param paths: as they are written, relative to the project or not.
    """
    relative = {Path(os.path.normpath(path)) for path in paths if not path.startswith(("~", "/"))}
    return sorted((path for path in relative if path.parts[:1] == ("..",)), key=lambda path: (len(path.parts), path))


def _local_paths(text: str) -> list[str] | None:
    """The local packages of one file; None when it is no list of packages as dbt knows it, or is made by Jinja as a
    whole.
    """
    import yaml

    try:
        content = load_yaml(text) or {}
        entries = content.get("packages") or []
        return [str(entry["local"]) for entry in entries if "local" in entry]
    except (yaml.YAMLError, AttributeError, TypeError):
        return None


def _why_unknown(path: str, text: str, local: list[str] | None) -> str:
    if local is None:
        return f"{path} is no list of packages as it stands"
    lines = [number for number, line in enumerate(text.splitlines(), 1) if "local" in line and _has_jinja(line)]
    is_computed = any(map(_has_jinja, local))
    return f"{path}, line {lines[0] if lines else 1}, computes the path of a local package" if is_computed else ""


def _has_jinja(text: str) -> bool:
    return any(mark in text for mark in ("{{", "{%"))


def profile_fields(
    profiles_yml: Path, *, profile: str, target: str, environment: Mapping[str, str]
) -> Callable[[str], Any]:
    """A function that returns a field of a target by name; None for a field that is missing.

    :param profiles_yml: the file.
    :param profile: the name of the profile in it.
    :param target: the name of the target in the profile.
    :param environment: what ``env_var()`` sees.
    :raises CosmosValueError: when the file is no YAML, or has no such profile or target; from the function, when a
        field cannot be rendered.
    """
    import yaml

    try:
        found = load_yaml(read_file(profiles_yml).decode())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CosmosValueError(f"{profiles_yml.name} is no YAML: {error}") from None
    for key in (profile, "outputs", target):
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise CosmosValueError(f"{profiles_yml.name} has no target {target!r} in a profile {profile!r}")
    fields: dict[str, Any] = found

    def field(name: str) -> Any:
        value = fields.get(name)
        return _rendered(f"{name} of the profile", value, environment) if isinstance(value, str) else value

    return field


def _rendered(what: str, template: str, environment: Mapping[str, str]) -> str:
    """A text in which each ``{{ env_var('NAME', 'default') }}`` is replaced. Other Jinja is refused: it needs dbt.

    :param what: the place of the text, for errors.
    :raises CosmosValueError: for other Jinja, and for a variable that is not set.
    """

    def value(call: re.Match[str]) -> str:
        found = environment.get(call["name"], call["number"] if call["default"] is None else call["default"])
        if found is None:
            raise CosmosValueError(
                f"{what} needs the environment variable {call['name']}, which is not set. Set it where DAGs are parsed "
                "and where tasks run, or give env_var() a default."
            )
        return found

    if _has_jinja(_ENV_VAR.sub("", template)):
        raise CosmosValueError(
            f"{what} is {template!r}, which is worked out by dbt alone. Write a text, perhaps with "
            "{{ env_var('NAME') }} in it."
        )
    return _ENV_VAR.sub(value, template)


DEFAULT_PACKAGES_FOLDER = "dbt_packages"
DEFAULT_WRITTEN_FOLDERS = {"target-path": "target", "log-path": "logs"}
DEFAULT_PATHS = ("analyses", "functions", "macros", "models", "seeds", "snapshots", "tests")


@dataclass(frozen=True, kw_only=True)
class DbtProjectFile:
    """The part of a ``dbt_project.yml`` that is read here.

    :param name: of the project; None where the file names none.
    :param packages_folder: where ``dbt deps`` installs, relative to the project or not.
    :param paths: all folders in which dbt looks for files (``macro-paths`` and so on), with dbt's defaults, whether the
        folders exist or not; None where only dbt can tell.
    :param paths_outside: the paths that lead out of the project, as written.
    :param written_folders: ``target-path`` and ``log-path``, where they can be told.
    """

    name: str | None = None
    packages_folder: str = DEFAULT_PACKAGES_FOLDER
    paths: tuple[str, ...] | None = DEFAULT_PATHS
    paths_outside: tuple[str, ...] = ()
    written_folders: tuple[str, ...] = tuple(DEFAULT_WRITTEN_FOLDERS.values())


def read_dbt_project(project_path: Path, *, environment: Mapping[str, str] | None = None) -> DbtProjectFile:
    """The project file of a folder; the defaults when there is no file, since a DAG can be made from a manifest alone.

    :param project_path: the folder of the dbt project.
    :param environment: what ``env_var()`` in the file sees; None: this process's environment.
    :raises CosmosLoadDbtException: when the file is there and cannot be read.
    """
    path = project_path / "dbt_project.yml"
    try:
        content = content_of(path)
    except FileNotFoundError:
        return DbtProjectFile()
    paths = _paths(path, content, environment)
    known = tuple(each for each in paths if each is not None)
    name, packages = content.get("name"), content.get("packages-install-path")
    return DbtProjectFile(
        name=str(name) if name else None,
        packages_folder=_render(path, "packages-install-path", str(packages), environment)
        if packages
        else DEFAULT_PACKAGES_FOLDER,
        paths=tuple(dict.fromkeys((*DEFAULT_PATHS, *known))) if len(known) == len(paths) else None,
        paths_outside=tuple(each for each in known if PurePath(os.path.normpath(each)).parts[:1] == ("..",)),
        written_folders=tuple(_written_folders(path, content, environment)),
    )


def _written_folders(path: Path, content: Mapping[str, object], environment: Mapping[str, str] | None) -> Iterator[str]:
    for key, default in DEFAULT_WRITTEN_FOLDERS.items():
        with suppress(CosmosLoadDbtException):  # Jinja that asks for more than env_var()
            yield _render(path, key, str(content.get(key) or default), environment)


def _paths(path: Path, content: Mapping[str, object], environment: Mapping[str, str] | None) -> list[str | None]:
    """All paths that are given; None for each that is no path, or is made by Jinja which asks for more than
    ``env_var()``.
    """
    found: list[str | None] = []
    for key, given in content.items():
        if str(key).endswith("-paths") and given is not None:
            for each in given if isinstance(given, list) else [None]:
                found.append(None)
                with suppress(CosmosLoadDbtException):
                    found[-1] = None if each is None else _render(path, str(key), str(each), environment)
    return found


def content_of(path: Path) -> dict[str, Any]:
    """The content of a ``dbt_project.yml``.

    :param path: of the file.
    :raises FileNotFoundError: when there is no file.
    :raises CosmosLoadDbtException: when the file cannot be read, or is no mapping in YAML.
    """
    import yaml

    try:
        content = read_file(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CosmosLoadDbtException(f"{path} cannot be read: {reason_of(error)}") from error
    try:
        content = load_yaml(content.decode())
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise CosmosLoadDbtException(f"{path} cannot be read as YAML: {error}") from None
    if not isinstance(content, dict):
        raise CosmosLoadDbtException(f"{path} holds no mapping. It must at least say `name: your_project`.")
    return content


def _render(path: Path, key: str, template: str, environment: Mapping[str, str] | None) -> str:
    try:
        return _rendered(f"{path}: {key}", template, os.environ if environment is None else environment)
    except CosmosValueError as error:
        raise CosmosLoadDbtException(str(error)) from None
