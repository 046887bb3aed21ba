"""The command ``cosmos-venv env lock``: it writes the lock files of the environments that DAG files need."""

from __future__ import annotations

import argparse
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cosmos_venv import credentials
from cosmos_venv.cli.env.warm import HOW_TO_KEEP, reporter
from cosmos_venv.cli.output import Result, Steps, steps
from cosmos_venv.environments import requirement_files
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.files import os_errors
from cosmos_venv.files.own_files import replace_atomically, write_new
from cosmos_venv.processes.cancellation import Cancellation

if TYPE_CHECKING:
    from cosmos_venv.cli.dag_files import WantedEnvironment
    from cosmos_venv.managed.resolve import VirtualenvArguments

_DEFAULT = "pylock.toml"
_NAME = r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?"  # of the package that a requirement begins with


@dataclass(frozen=True, kw_only=True)
class WrittenLock:
    """The result of locking one environment. No credential is in it.

    :param path: of the file.
    :param requirements: pip requirement strings that it was resolved for.
    :param packages: how many it holds for the Python of the environment; 0 after an error.
    :param was_changed: whether its content differs from that before.
    :param is_named: whether the requirements name it already.
    :param error: why it was not written, in words; None: it stands there.
    """

    path: str
    requirements: tuple[str, ...]
    packages: int = 0
    was_changed: bool = False
    is_named: bool
    error: str | None = None


def env_lock(options: argparse.Namespace) -> Result:
    """Resolve the requirements of each environment that the virtualenv tasks of a DAG file keep, with uv.

    Write a lock file (PEP 751) with the address and hash of each package: the file that the requirements name, else
    pylock.toml beside the DAG file, or pylock.NAME.toml where there are several environments. Versions are chosen anew,
    whatever the file held before. A DAG file that runs dbt ls builds its environment when it is imported. Exit code 1:
    a file cannot be imported, an environment cannot be resolved, or a package can have no hash.

    :param options: the command line.
    :raises CosmosValueError: when ``--output`` is the file of several environments.
    """
    from cosmos_venv.cli.dag_files import dag_files_of, read_dag_files
    from cosmos_venv.managed import resolve

    with steps("reading") as step:
        files = [file for source in options.sources for file in dag_files_of(source)]
        locks = _Locks(is_universal=options.universal, step=step)
        # An import that runs dbt ls builds its environment from a lock file. So this file is renewed before the import.
        foreground = resolve.Foreground(report=reporter(step, is_verbose=False), before=locks.renew_what_is_named)
        with resolve.foreground_imports(foreground):
            read = read_dag_files(files, begin=step.begin)
        for target, arguments in _targets(read.wanted, options.output).items():
            locks.write(target, arguments)
    written = list(locks.written.values())
    failures = [*read.failures, *(f"{one.path}: {one.error}" for one in written if one.error)]
    lines = [line for one in written for line in _lines(one)]
    if not written and not failures:
        lines = [f"No task of these DAG files keeps a managed environment. {HOW_TO_KEEP}"]
    data = {"locks": [asdict(one) for one in written], "failures": failures}
    return Result(data=data, shown=lines, failures=failures)


@dataclass(kw_only=True)
class _Locks:
    """The lock files that were written so far, by their paths.

    :param is_universal: whether they are for all platforms.
    :param step: shows how far it has come.
    """

    is_universal: bool
    step: Steps
    written: dict[Path, WrittenLock] = field(default_factory=dict)

    def renew_what_is_named(self, arguments: VirtualenvArguments) -> None:
        """Write the lock file that arguments name, before anything is built of it.

        :param arguments: of an operator.
        :raises CosmosValueError: when it cannot be written.
        """
        named = _lock_file_of(arguments)
        if named is not None and (error := self.write(named, arguments).error):
            raise CosmosValueError(error)

    def write(self, target: Path, arguments: VirtualenvArguments) -> WrittenLock:
        """Resolve an environment and write its lock file, where that was not done already.

        :param target: path of the lock file.
        :param arguments: of an operator.
        :returns: the result, of this call or of an earlier one.
        """
        if target not in self.written:
            self.step.begin(f"resolving {_shown(arguments)}")
            self.written[target] = self._written(target, arguments)
        return self.written[target]

    def _written(self, target: Path, arguments: VirtualenvArguments) -> WrittenLock:
        from cosmos_venv.environments.installers.lock_files import resolve

        wanted = without_lock_file(arguments)
        requirements = tuple(credentials.mask(text) for text in wanted.py_requirements)
        lock = WrittenLock(path=str(target), requirements=requirements, is_named=_lock_file_of(arguments) == target)
        try:
            if not requirements:
                raise CosmosValueError(
                    f"py_requirements names {target} and nothing to resolve. Name beside it what is wanted, for "
                    f'example py_requirements=["dbt-core~=1.11.0", "dbt-postgres", "-r {target}"].'
                )
            text, packages = resolve(
                wanted.spec(),
                target,
                is_universal=self.is_universal,
                cancellation=Cancellation(),
                report=self.step.mention,
            )
            before = target.read_bytes() if target.is_file() else None
            content = text.encode()
            if content != before:
                with replace_atomically(target) as apart:
                    write_new(apart, content)
        except (VirtualenvError, CosmosValueError) as error:
            return replace(lock, error=credentials.mask(str(error)))
        except OSError as error:
            return replace(lock, error=f"it cannot be written: {os_errors.reason_of(error)}")
        return replace(lock, packages=packages, was_changed=content != before)


def _lock_file_of(arguments: VirtualenvArguments) -> Path | None:
    """The absolute path of the lock file that arguments name; None where they name none."""
    required = (option for text in arguments.py_requirements for option in requirement_files.parse_requirement(text))
    named = requirement_files.lock_file_among([*requirement_files.parse(arguments.pip_install_options), *required])
    return None if named is None else named.absolute()


def without_lock_file(arguments: VirtualenvArguments) -> VirtualenvArguments:
    """Return arguments without the lock file that they name.

    :param arguments: of an operator.
    """
    requirements = []
    for text in arguments.py_requirements:
        if not text.lstrip().startswith("-"):
            requirements.append(text)
        elif words := requirement_files.without_lock_file(shlex.split(text)):
            requirements.append(shlex.join(words))
    return msgspec.structs.replace(
        arguments,
        py_requirements=tuple(requirements),
        pip_install_options=tuple(requirement_files.without_lock_file(arguments.pip_install_options)),
    )


def _targets(wanted: Iterable[WantedEnvironment], output: Path | None) -> dict[Path, VirtualenvArguments]:
    """The file to write for each environment: the file that the environment names, else a file beside its DAG file.

    :raises CosmosValueError: when two environments would have one file.
    """
    by_folder: dict[Path, dict[VirtualenvArguments, Path | None]] = {}
    for one in wanted:
        by_folder.setdefault(Path(one.file or "").parent, {})[one.arguments] = _lock_file_of(one.arguments)
    targets: dict[Path, VirtualenvArguments] = {}
    for folder, environments in by_folder.items():
        labels = _labels(environments)
        for arguments, named in environments.items():
            target = output or named or folder / labels[arguments]
            other = targets.setdefault(target, arguments)
            if without_lock_file(other) != without_lock_file(arguments):
                raise CosmosValueError(
                    f"{target} would be the lock file of two environments: {_shown(other)}; and {_shown(arguments)}. "
                    + ("Leave --output out." if output else "Give each of them a lock file of its own.")
                )
    return targets


def _labels(environments: Mapping[VirtualenvArguments, Path | None]) -> dict[VirtualenvArguments, str]:
    """Names of lock files. Each name is made of the packages that not all environments of the folder want."""
    different = dict.fromkeys(map(without_lock_file, environments))
    if len(different) == 1:
        return dict.fromkeys(environments, _DEFAULT)
    packages = {each: [_package(text) for text in each.py_requirements] for each in different}
    counted = Counter(name for names in packages.values() for name in set(names))
    taken = {named.name for named in environments.values() if named is not None}
    labels: dict[VirtualenvArguments, str] = {}
    for each, names in packages.items():
        label = "-".join(name for name in names if counted[name] < len(packages)) or "-".join(names)
        candidates = (label if number == 1 else f"{label}-{number}" for number in count(1))
        labels[each] = next(name for part in candidates if (name := f"pylock.{part}.toml") not in taken)
        taken.add(labels[each])
    return {each: labels[without_lock_file(each)] for each in environments}


def _package(requirement: str) -> str:
    """The name that a requirement begins with, as a part of a file's name."""
    found = re.match(_NAME, requirement.strip())
    return re.sub(r"[-_.]+", "-", found.group()).lower() if found else "other"


def _shown(arguments: VirtualenvArguments) -> str:
    return credentials.mask(", ".join(without_lock_file(arguments).py_requirements))


def _lines(one: WrittenLock) -> list[str]:
    state = "failed" if one.error else f"{one.packages} packages, {'written' if one.was_changed else 'unchanged'}"
    line = f"{one.path}: {', '.join(one.requirements)}: {state}"
    if one.error or one.is_named:
        return [line]
    place = "beside these" if requirement_files.is_lock_file(one.path) else "in place of these"
    word = f"""f"-r {{Path(__file__).with_name('{Path(one.path).name}')}}\""""
    return [line, f"  To have it installed, name it in py_requirements {place}: {word}"]
