"""What must be equal for two tasks to share one environment, and the digest that says so."""

from __future__ import annotations

import hashlib
import json
import shlex
import site
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from cosmos_venv.environments import credentials, options
from cosmos_venv.environments.content import canonical_requirements_file, digest_of_path
from cosmos_venv.environments.interpreter import Interpreter
from cosmos_venv.environments.local_path import LocalPath, is_url, local_path
from cosmos_venv.environments.words import refuse_anything_but_strings
from cosmos_venv.exceptions import CosmosValueError

if TYPE_CHECKING:
    # Imported where it is used: a builder that is told the digest needs none of it.
    from packaging.requirements import Requirement
    from packaging.specifiers import Specifier

_FORM = 1  # raise it when the canonical form changes: environments of the old form are then not found


@dataclass(frozen=True, kw_only=True, repr=False)
class EnvironmentSpec:
    """One environment to be had.

    :param requirements: as ``pip install`` takes them: names with versions, paths, URLs, ``-r FILE``.
    :param pip_install_options: options of ``pip install``, one command line word each.
    :param interpreter: the Python to make it of.
    :param system_site_packages: whether packages of the worker are visible in it.
    :param check: Python source that the finished build's own interpreter runs; a non-zero exit means broken.
        Says nothing about what is built, so it is no part of the digest.
    :raises CosmosValueError: naming ``py_requirements`` and the string that is no requirement, or the argument that
        is a string in place of several.
    """

    requirements: tuple[str, ...]
    pip_install_options: tuple[str, ...] = ()
    interpreter: Interpreter
    system_site_packages: bool = False
    check: str = ""

    def __post_init__(self) -> None:
        refuse_anything_but_strings("py_requirements", self.requirements)
        refuse_anything_but_strings("pip_install_options", self.pip_install_options)
        for text in self.requirements:
            if not (text.lstrip().startswith("-") or local_path(text) or is_url(text)):
                _parsed(text)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over what the spec means. Reads the files that it names.

        :raises CosmosValueError: naming the file that cannot be read.
        """
        canonical = {
            "form": _FORM,
            "requirements": sorted({_canonical_requirement(text) for text in self.requirements}),
            "options": [part for option in options.parse(self.pip_install_options) for part in _canonical(option)],
            "interpreter": asdict(self.interpreter),
            "system_site_packages": [self.system_site_packages, *self.worker_site_packages],
        }
        text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def worker_site_packages(self) -> tuple[str, ...]:
        """Directories of this process's own virtual environment that ``system_site_packages`` makes visible.

        The environment is made of the base interpreter, whose site-packages are not the worker's when the worker
        itself runs in a virtual environment. Another Python could not import what lies there.
        """
        is_in_virtualenv = sys.prefix != sys.base_prefix
        if not (self.system_site_packages and is_in_virtualenv and self.interpreter.is_own):
            return ()
        return tuple(site.getsitepackages())

    @property
    def asks_for_upgrade(self) -> bool:
        """Whether ``--upgrade`` (``-U``) is among the options: the newest versions are wanted, now and then anew."""
        return any(option.name == "--upgrade" for option in options.parse(self.pip_install_options))

    @property
    def redacted(self) -> dict[str, Any]:
        """The spec as it may be shown and stored: without any credential."""
        shown = asdict(self)
        del shown["check"]
        for name in ("requirements", "pip_install_options"):
            shown[name] = [credentials.mask(text) for text in shown[name]]
        return shown

    def as_dict(self) -> dict[str, Any]:
        """Plain data from which ``from_dict`` makes an equal spec. May hold credentials: never store it."""
        return {**asdict(self), "digest": self.digest}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EnvironmentSpec:
        """The same spec in another process, with the digest it had where it was made and checked."""
        known = {field.name: data[field.name] for field in fields(cls)}
        known["requirements"] = tuple(known["requirements"])
        known["pip_install_options"] = tuple(known["pip_install_options"])
        known["interpreter"] = Interpreter(**known["interpreter"])
        spec = object.__new__(cls)
        vars(spec).update(known, digest=data["digest"])
        return spec

    def __repr__(self) -> str:
        return f"EnvironmentSpec({', '.join(f'{name}={value!r}' for name, value in self.redacted.items())})"

    def __str__(self) -> str:
        return credentials.mask(", ".join(self.requirements)) or "no requirements"


def _parsed(text: str) -> Requirement:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(text)
    except InvalidRequirement as error:
        raise CosmosValueError(
            f"py_requirements: {credentials.mask(text)!r} is not a requirement "
            f"({credentials.mask(str(error).splitlines()[0])}). "
            "Write a name with an optional version, such as 'dbt-core~=1.11.0', a path, or a URL."
        ) from None


def _canonical_requirement(text: str) -> str:
    text = text.strip()
    if text.startswith("-"):
        return " ".join(part for option in options.parse(shlex.split(text)) for part in _canonical(option))
    if local := local_path(text):
        return _canonical_path(local)
    if is_url(text):
        return _with_content(text)
    from packaging.utils import canonicalize_name

    requirement = _parsed(text)
    extras = ",".join(sorted(canonicalize_name(extra) for extra in requirement.extras))
    source = _with_content(requirement.url) if requirement.url else _canonical_specifiers(requirement)
    return f"{canonicalize_name(requirement.name)}[{extras}] {source} ; {requirement.marker or ''}"


def _canonical_specifiers(requirement: Requirement) -> str:
    return ",".join(sorted({_canonical_specifier(specifier) for specifier in requirement.specifier}))


def _canonical_specifier(specifier: Specifier) -> str:
    """``==1.0`` and ``==1.0.0`` mean the same, ``~=1.0`` and ``~=1.0.0`` do not; ``===`` compares texts."""
    from packaging.utils import canonicalize_version

    if specifier.operator == "===" or specifier.version.endswith(".*"):
        return f"{specifier.operator}{specifier.version}"
    version = canonicalize_version(specifier.version, strip_trailing_zero=specifier.operator != "~=")
    return f"{specifier.operator}{version}"


def _canonical_path(local: LocalPath) -> str:
    return f"content {digest_of_path(Path(local.path))} {local.rest}"


def _with_content(url: str) -> str:
    """A URL without credentials; a ``file:`` URL with the content it leads to."""
    address = urlsplit(url)
    if address.scheme != "file":
        return credentials.remove(url)
    return f"content {digest_of_path(Path(unquote(address.path)))} {address.fragment}"


def _canonical(option: options.InstallOption) -> Iterator[str]:
    yield option.name
    if option.value is None:
        return
    if option.names_requirements_file and not is_url(option.value):
        yield from canonical_requirements_file(Path(option.value))
    elif option.name in {"", "--editable"} and (local := local_path(option.value)):
        yield _canonical_path(local)
    else:
        yield credentials.remove(option.value)
