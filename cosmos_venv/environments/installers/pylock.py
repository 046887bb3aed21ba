"""Lock files (PEP 751, ``pylock.toml``): the file of each package that is installed on one Python, with its hash.

- Nothing is resolved: what a lock file lists is installed, and nothing else. Requirements that stand beside it say what
  it must hold.
- Everything has a hash, and the installer compares it. What cannot have one, a folder or a repository, is refused.
- Neither uv nor pip reads the file, for their releases differ in whether they can. Each gets the same lines of a
  requirements file: an address and a hash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote, urlsplit

from cosmos_venv import credentials
from cosmos_venv.environments import requirement_files
from cosmos_venv.environments.installers.choice import host_of
from cosmos_venv.environments.installers.installer_config import parsed_toml
from cosmos_venv.environments.requirement_files import local_path, requirements_in_file
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files import os_errors
from cosmos_venv.files.read_limits import read_file
from cosmos_venv.processes.cancellation import Cancellation

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from packaging.pylock import Package, Pylock
    from packaging.requirements import Requirement
    from packaging.tags import Tag

    Chosen = list[tuple[Package, Any]]

LOCK_ANEW = "Lock anew: cosmos-venv env lock DAGFILE."

_HASHES = ("sha256", "sha512", "sha384")  # those that both uv and pip take; the first that there is
_NEEDED = "packaging 26.1 or later, and on Python 3.10 tomli (cosmos-venv[lock])"

# Run by a Python that need not have packaging: then it takes the worker's, which is for every Python.
_QUESTION = """
import json, sys
sys.path.append({folder!r})
from packaging.markers import default_environment
from packaging.tags import sys_tags
print(json.dumps([default_environment(), [str(tag) for tag in sys_tags()]]))
"""


@dataclass(frozen=True, kw_only=True)
class LockedPackages:
    """The packages of a lock file that are installed on one Python.

    :param file: the lock file.
    :param lines: of a requirements file; they may hold credentials.
    :param sources: hosts, and folders of this machine, of the files. No credentials.
    :param has_sdists: whether one is built here: what it is built with comes from an index.
    :param names: canonical names of the packages.
    :param markers: values of environment markers on this Python.
    """

    file: Path
    lines: tuple[str, ...] = field(repr=False)
    sources: tuple[str, ...]
    has_sdists: bool
    names: frozenset[str]
    markers: Mapping[str, str]

    def missing(self, found: Iterable[Distribution]) -> list[str]:
        """Return what installed packages require and the lock file does not hold, a few words each.

        :param found: the packages.
        """
        from packaging.utils import canonicalize_name

        return [
            f"{requirement.name} (for {each.metadata['Name']})"
            for each in found
            for requirement in filter(None, map(_requirement, each.requires or ()))
            if canonicalize_name(requirement.name) not in self.names and _is_wanted(requirement, self.markers)
        ]


def locked_packages(spec: EnvironmentSpec, *, cancellation: Cancellation | None = None) -> LockedPackages | None:
    """Return what the lock file of a spec has installed on its Python; None where it has no lock file.

    :param spec: of the environment.
    :param cancellation: ends the question to another Python what it is; None: nothing does.
    :raises CosmosValueError: naming the lock file: it cannot be read, is not for this Python or not what the other
        requirements want, or a package has no hash.
    :raises VirtualenvError: when another Python does not answer.
    :raises CommandKilled: when ``cancellation`` was requested before that.
    """
    file = spec.lock_file
    if file is None:
        return None
    lock = read_lock_file(file)
    markers, tags = markers_and_tags(spec.interpreter, cancellation=cancellation)
    chosen = _chosen(file, lock, markers, tags, spec.interpreter)
    for requirement in _beside(spec, file):
        if _is_wanted(requirement, markers):
            _refuse_other(requirement, file, chosen)
    addresses = {package.name: _address(file, package, source) for package, source in chosen}
    return LockedPackages(
        file=file,
        lines=tuple(_line(file, package, source, addresses[package.name]) for package, source in chosen),
        sources=tuple(dict.fromkeys(map(_source, addresses.values()))),
        has_sdists=any(not address.partition("#")[0].endswith(".whl") for address in addresses.values()),
        names=frozenset(addresses),
        markers=markers,
    )


def read_lock_file(file: Path) -> Pylock:
    """Return what a lock file says.

    :param file: the lock file.
    :raises CosmosValueError: naming the file: it cannot be read, or not by what is installed here.
    """
    try:
        from packaging.pylock import Pylock, PylockValidationError
    except ImportError as error:
        raise _cannot_be_read_here(file) from error
    if not hasattr(Pylock, "select"):
        raise _cannot_be_read_here(file)
    try:
        return Pylock.from_dict(parsed_toml(read_file(file).decode()))
    except ImportError as error:
        raise _cannot_be_read_here(file) from error
    except OSError as error:
        way_out = "Give a path that exists on every worker."
        raise CosmosValueError(
            f"py_requirements: {file} cannot be read: {os_errors.reason_of(error, way_out)}"
        ) from error
    except (ValueError, PylockValidationError) as error:
        raise CosmosValueError(f"py_requirements: {file} is no lock file (PEP 751): {error}. {LOCK_ANEW}") from None


def markers_and_tags(
    interpreter: Interpreter, *, cancellation: Cancellation | None = None
) -> tuple[Mapping[str, str], list[Tag]]:
    """Return the values of environment markers on a Python, and the tags of its wheels from the best to the worst.

    :param interpreter: the Python.
    :param cancellation: ends the question to another Python than this one; None: nothing does.
    :raises VirtualenvError: when another Python does not answer.
    :raises CommandKilled: when ``cancellation`` was requested before that.
    """
    import packaging
    from packaging import markers, tags

    if interpreter.is_own:
        return {name: str(value) for name, value in markers.default_environment().items()}, list(tags.sys_tags())
    folder = str(Path(packaging.__file__ or "").parents[1])
    said = interpreter.answer(_QUESTION.format(folder=folder), cancellation=cancellation)
    values, names = json.loads(said)
    return values, [tag for name in names for tag in tags.parse_tag(name)]


def _cannot_be_read_here(file: Path) -> CosmosValueError:
    return CosmosValueError(
        f"py_requirements: to read {file}, the worker needs {_NEEDED}. Install that, or lock into requirements with "
        "hashes: cosmos-venv env lock DAGFILE --output requirements.txt."
    )


def _chosen(file: Path, lock: Pylock, markers: Mapping[str, str], tags: list[Tag], interpreter: Interpreter) -> Chosen:
    from packaging.pylock import PylockSelectError

    environment: Any = dict(markers)
    try:
        return list(lock.select(environment=environment, tags=tags))
    except PylockSelectError as error:
        raise CosmosValueError(
            f"py_requirements: {file} is not for Python {interpreter.version} on {interpreter.platform}: {error}. "
            "Lock with that Python there (cosmos-venv env lock DAGFILE), or for all platforms and later Pythons "
            "(--universal)."
        ) from error


def _beside(spec: EnvironmentSpec, file: Path) -> Iterator[Requirement]:
    """Give the requirements that stand beside the lock file, by name.

    :raises CosmosValueError: for one without a name.
    """
    texts = [text for text in spec.requirements if not text.lstrip().startswith("-")]
    for option in requirement_files.given_options(spec.pip_install_options, spec.requirements):
        if option.name == "--requirement" and option.value and "://" not in option.value:
            texts += requirements_in_file(Path(option.value))
        elif option.name in ("", "--editable", "--requirement"):
            texts.append(option.value or "")
    for text in filter(None, texts):
        requirement = _requirement(text)
        if requirement is None:
            raise CosmosValueError(
                f"py_requirements: {credentials.mask(text)!r} stands beside {file} and has no name. Leave it out, or "
                "write 'NAME @ ADDRESS'."
            )
        yield requirement


def _requirement(text: str) -> Requirement | None:
    """Return a requirement, or that of the package of a wheel; None for any other path or address, and for nonsense."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        local = local_path(text)
        return Requirement(parse_wheel_filename(Path(local.path).name)[0] if local else text)
    except (InvalidRequirement, InvalidWheelFilename):
        return None


def _is_wanted(requirement: Requirement, markers: Mapping[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**markers, "extra": ""})


def _refuse_other(requirement: Requirement, file: Path, chosen: Chosen) -> None:
    """Raise where a lock file does not hold what a requirement wants."""
    from packaging.utils import canonicalize_name

    name = canonicalize_name(requirement.name)
    package = next((package for package, _ in chosen if package.name == name), None)
    wanted = credentials.mask(str(requirement))
    if package is None:
        raise CosmosValueError(f"py_requirements: {file} does not hold {wanted}. {LOCK_ANEW}")
    if package.version is not None and not requirement.specifier.contains(package.version, prereleases=True):
        raise CosmosValueError(
            f"py_requirements: {wanted} is wanted, and {file} holds {name} {package.version}. {LOCK_ANEW}"
        )


def _address(file: Path, package: Package, source: Any) -> str:
    """Return the address of the file of a package."""
    if package.vcs is not None:
        _refuse(file, package, f"comes from a repository ({credentials.mask(source.url or source.path or '')})")
    if package.directory is not None:
        _refuse(file, package, f"is a folder ({source.path})")
    local = file.absolute().parent / source.path if source.path else None
    if local is not None and not (local.is_file() or source.url):
        raise CosmosValueError(
            f"py_requirements: {file} takes {package.name} from {local}, and there is no such file. Put it there on "
            f"every worker, or lock it from an index."
        )
    address: str = local.as_uri() if local is not None and local.is_file() else source.url
    name = unquote(urlsplit(address).path).rpartition("/")[2]
    if package.archive is None and name != source.filename:
        # Both installers take name and version of a file from its address.
        raise CosmosValueError(
            f"py_requirements: {file} takes {package.name} from {credentials.mask(address)}, which does not end with "
            f"the name of the file ({source.filename}). Lock it from an index whose addresses do."
        )
    if re.search(r"\s", address):
        raise CosmosValueError(f"py_requirements: {file} takes {package.name} from an address with blanks. {LOCK_ANEW}")
    address = address.partition("#")[0].replace("$", "%24")  # ${NAME} is a variable in a requirements file
    part = package.archive.subdirectory if package.archive is not None else None
    return f"{address}#subdirectory={part}" if part else address


def _refuse(file: Path, package: Package, what: str) -> NoReturn:
    raise CosmosValueError(
        f"py_requirements: {package.name} in {file} {what}, of which no hash can be checked. Build a wheel of it "
        f"(pip wheel), and require that: '{package.name} @ file:///PATH/OF/THE.whl'."
    )


def _line(file: Path, package: Package, source: Any, address: str) -> str:
    for algorithm in _HASHES:
        if re.fullmatch(r"[0-9A-Fa-f]+", source.hashes.get(algorithm, "")):
            return f"{package.name} @ {address} --hash={algorithm}:{source.hashes[algorithm]}"
    raise CosmosValueError(
        f"py_requirements: {package.name} in {file} has no hash that uv and pip check ({', '.join(_HASHES)}). "
        f"{LOCK_ANEW}"
    )


def _source(address: str) -> str:
    return host_of(address.rpartition("/")[0] if address.startswith("file:") else address)
