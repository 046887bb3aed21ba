"""The content of dbt_project.yml, packages.yml and profiles.yml, and the environment variables that files of a project
ask for.

All of it is told without dbt, from the files alone: what only dbt can tell is said to be unknown, and then nothing is
shared between commands. A field of a profile is rendered when it is asked for: most hold nothing that anybody but dbt
may see.

A name of an environment variable that is written out is found in the text. One that Jinja computes
(``env_var('PORT_' ~ target.name)``) is known to dbt alone. dbt notes in its parse file which variables it has read
while it parsed. As tried with dbt 1.10 and 1.11, it notes all but those of ``dbt_project.yml``, ``selectors.yml``, the
profile, package files and descriptions.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.files.os_errors import reason_of
from cosmos_venv.files.read_limits import UnfitFileError, read_file
from cosmos_venv.files.yaml_files import load_yaml, scalars

_NAME = "env_var"
_CALL = re.compile(rb"""\benv_var\b(?:\s*\(\s*['"]([^'"]+)['"]\s*[,)])?""")
_ROUNDS = 5_000  # some milliseconds, which every parse pays
_YAML = (".yml", ".yaml")


@dataclass(frozen=True)
class ComputedName:
    """A call of ``env_var()`` whose name is known only when it runs.

    :param file: as it was given to ``env_vars_in``.
    :param line: its number, from 1.
    """

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


@dataclass(frozen=True)
class EnvVars:
    """The variables of one text or of several.

    :param names: those that are written out, and perhaps some that are never read, such as one in a comment.
    :param computed: the calls whose name is known only when they run.
    """

    names: frozenset[str] = frozenset()
    computed: tuple[ComputedName, ...] = ()

    @classmethod
    def of_all(cls, found: Iterable[EnvVars]) -> EnvVars:
        """The variables of several texts together.

        :param found: those of each text.
        """
        each = list(found)
        return cls(
            frozenset().union(*(one.names for one in each)),
            tuple(computed for one in each for computed in one.computed),
        )

    def below(self, folder: str) -> EnvVars:
        """The same variables, of files that stand in that folder.

        :param folder: the path to put before the path of each file.
        """
        computed = (replace(each, file=f"{folder}/{each.file}") for each in self.computed)
        return EnvVars(self.names, tuple(computed))


def env_vars_in(content: bytes, file: str) -> EnvVars:
    """The variables that a file asks for.

    :param content: what stands in it.
    :param file: its path below its project or package: what it is for is told by its name.
    """
    found = _CALL.findall(content)
    names = frozenset(os.fsdecode(name) for name in found if name)
    if b"" not in found or file.endswith(".py"):  # dbt renders no Python
        return EnvVars(names)
    text = content.decode("utf-8", errors="replace")
    # YAML first: in a text in single quotes dbt's Jinja has each of its own quotes doubled, env_var(''NAME'').
    texts = scalars(text) if file.endswith(_YAML) else None
    parts = [(text, 1)] if texts is None else [(scalar.text, scalar.line) for scalar in texts]
    calls = [call for part, line in parts for call in _calls_in(part, file, first_line=line)]
    return EnvVars(
        names | {call for call in calls if isinstance(call, str)},
        tuple(call for call in calls if isinstance(call, ComputedName)),
    )


def veiled(env: Mapping[str, str], names: Iterable[str]) -> str:
    """A text that differs where the values of these variables do; empty where none of them is set.

    Passwords may be among them, and the text becomes part of the name of a file that others may see. So it takes
    long to try out values: thousands of times as long as by a plain digest.

    :param env: the environment variables.
    :param names: those that count.
    """
    values = {name: env[name] for name in sorted(names) if name in env}
    text = json.dumps(values).encode(errors="surrogateescape")
    return hashlib.pbkdf2_hmac("sha256", text, b"cosmos-venv", _ROUNDS).hex() if values else ""


def _calls_in(text: str, file: str, *, first_line: int) -> Iterator[str | ComputedName]:
    """The calls in a text with Jinja: a name that is written out, or where one is computed."""
    if not (_NAME in text and ("{{" in text or "{%" in text)):
        return
    import jinja2  # costs nothing where every name is written out

    def computed(line: int) -> ComputedName:
        return ComputedName(file, first_line + line - 1)

    try:
        lexed = list(jinja2.Environment(autoescape=True).lex(text))
    except jinja2.TemplateSyntaxError as error:
        yield computed(error.lineno)
        return
    tokens = [(line, kind, word) for line, kind, word in lexed if kind != "whitespace"]
    for number, (line, kind, word) in enumerate(tokens):
        if kind == "string" and word[1:-1] == _NAME:  # context['env_var']
            yield computed(line)
        if kind != "name" or word != _NAME:
            continue
        (_, _, bracket), (_, what, name), (_, _, end) = (*tokens[number + 1 : number + 4], *[(0, "", "")] * 3)[:3]
        yield name[1:-1] if bracket == "(" and what == "string" and end in (",", ")") else computed(line)


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
    :param unknown: why there may be more of them, in words: where only dbt can tell.
    """

    contents: Mapping[str, str]
    local: tuple[str, ...] = ()
    unknown: str = ""

    def digest(self, *, variables: str, env: Mapping[str, str], which_dbt: str) -> str | None:
        """A digest that is equal where ``dbt deps`` installs the same; None when that cannot be told.

        :param variables: the value of ``--vars``; counts only where the files have Jinja in them.
        :param env: what ``env_var()`` sees; the variables that the files name count, except dbt's secret ones.
        :param which_dbt: a text that differs where the dbt may be another one.
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
        """Why only dbt can tell what ``dbt deps`` installs, in words; empty where the files tell it."""
        computed = next(iter(self._env_vars.computed), None)
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
    """The files of the project, of its local packages, and of theirs. dbt takes every path from the project.

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
            except UnfitFileError as error:
                unknown = unknown or f"{path} cannot be read: {error.strerror}"
                continue
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
    if not any(map(_has_jinja, local)):
        return ""
    lines = [each.line for each in scalars(text) or () if each.keys[-1:] == ("local",) and _has_jinja(each.text)]
    return f"{path}, line {lines[0]}, computes the path of a local package"


def _has_jinja(text: str) -> bool:
    return any(mark in text for mark in ("{{", "{%"))


def profile_fields(
    profiles_yml: Path, *, profile: str, target: str, environment: Mapping[str, str]
) -> Callable[[str], Any]:
    """A function that gives a field of that target by its name, None where there is none.

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
        return _rendered(name, value, environment) if isinstance(value, str) and "{" in value else value

    return field


def _rendered(name: str, template: str, environment: Mapping[str, str]) -> str:
    import jinja2

    from cosmos_venv.dbt.jinja_values import JINJA, VALUE_ERRORS, Unknown, value_of

    def env_var(variable: str, default: str | None = None) -> str:
        value = environment.get(variable, default)
        if value is None:
            raise CosmosValueError(f"{name} of the profile needs the environment variable {variable}, which is not set")
        return value

    try:
        return str(value_of(JINJA.parse(template), {"env_var": env_var}))
    except Unknown:
        raise CosmosValueError(f"{name} of the profile is {template!r}, which is worked out by dbt alone") from None
    except CosmosValueError:
        raise
    except (jinja2.TemplateError, *VALUE_ERRORS) as error:
        raise CosmosValueError(f"{name} of the profile cannot be rendered: {error}") from None


DEFAULT_PACKAGES_FOLDER = "dbt_packages"
DEFAULT_SEED_PATHS = ("seeds",)
DEFAULT_PATHS = ("analyses", "functions", "macros", "models", "seeds", "snapshots", "tests")


@dataclass(frozen=True, kw_only=True)
class DbtProjectFile:
    """The part of a ``dbt_project.yml`` that is read here.

    :param name: of the project; None where the file names none.
    :param packages_folder: where ``dbt deps`` installs, relative to the project or not.
    :param seed_paths: the folders in which dbt looks for seeds, relative to the project; None where only dbt can tell.
    :param paths: all folders in which dbt looks for files (``macro-paths`` and so on), those of dbt's defaults among
        them, whether they are there or not; None where only dbt can tell.
    :param paths_outside: those that lead out of the project, as written.
    """

    name: str | None = None
    packages_folder: str = DEFAULT_PACKAGES_FOLDER
    seed_paths: tuple[str, ...] | None = DEFAULT_SEED_PATHS
    paths: tuple[str, ...] | None = DEFAULT_PATHS
    paths_outside: tuple[str, ...] = ()


def read_dbt_project(project_path: Path, *, environment: Mapping[str, str] | None = None) -> DbtProjectFile:
    """The project file of that folder; all defaults when there is none (a manifest can be drawn without it).

    :param project_path: the folder of the dbt project.
    :param environment: what ``env_var()`` in the file sees; None: this process's environment.
    :raises CosmosLoadDbtException: when the file is there and cannot be read.
    """
    path = project_path / "dbt_project.yml"
    try:
        text = read_file(path).decode()
    except FileNotFoundError:
        return DbtProjectFile()
    except OSError as error:
        raise CosmosLoadDbtException(f"{path} cannot be read: {reason_of(error)}") from error
    except UnicodeDecodeError as error:
        raise CosmosLoadDbtException(f"{path} cannot be read: {error}") from None
    content = _parse(path, text)
    paths = _paths(path, content, environment)
    known = tuple(each for each in paths if each is not None)
    name, packages = content.get("name"), content.get("packages-install-path")
    return DbtProjectFile(
        name=str(name) if name else None,
        packages_folder=_render(path, "packages-install-path", str(packages), environment)
        if packages
        else DEFAULT_PACKAGES_FOLDER,
        seed_paths=_seed_paths(content.get("seed-paths")),
        paths=tuple(dict.fromkeys((*DEFAULT_PATHS, *known))) if len(known) == len(paths) else None,
        paths_outside=tuple(each for each in known if PurePath(os.path.normpath(each)).parts[:1] == ("..",)),
    )


def _seed_paths(given: object) -> tuple[str, ...] | None:
    """Jinja in them may ask for ``var()``, which is known to dbt alone; and whatever is no list is dbt's to refuse."""
    if given is None:
        return DEFAULT_SEED_PATHS
    if not isinstance(given, list) or any("{" in str(each) for each in given):
        return None
    return tuple(str(each) for each in given)


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


def _parse(path: Path, text: str) -> dict[str, object]:
    import yaml

    try:
        content = load_yaml(text)
    except yaml.YAMLError as error:
        raise CosmosLoadDbtException(f"{path} cannot be read as YAML: {error}") from None
    if not isinstance(content, dict):
        raise CosmosLoadDbtException(f"{path} holds no mapping. It must at least say `name: your_project`.")
    return content


def _render(path: Path, key: str, template: str, environment: Mapping[str, str] | None) -> str:
    """The value of a key, which dbt renders with ``env_var()`` and its own ``var()``."""
    if "{{" not in template:
        return template
    import jinja2

    from cosmos_venv.dbt.jinja_values import JINJA, VALUE_ERRORS, Unknown, value_of

    variables = os.environ if environment is None else environment

    def env_var(name: str, default: str | None = None) -> str:
        value = variables.get(name, default)
        if value is None:
            raise CosmosLoadDbtException(
                f"{path}: {key} {template!r} needs the environment variable {name}. "
                "Set it where DAGs are parsed, or give env_var() a default."
            )
        return value

    try:
        return str(value_of(JINJA.parse(template), {"env_var": env_var}))
    except Unknown:
        raise CosmosLoadDbtException(
            f"{path}: {key} {template!r} is worked out by dbt alone. Write a path, or env_var() with a name."
        ) from None
    except (jinja2.TemplateError, *VALUE_ERRORS) as error:
        raise CosmosLoadDbtException(f"{path}: {key} {template!r}: {error}") from None
