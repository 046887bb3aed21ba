"""The implementation that is used and judged: the one that was named, or the only one that is installed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module, metadata, util
from types import ModuleType
from typing import Any

KNOWN_IMPLEMENTATIONS = {"cosmos": "astronomer-cosmos", "cosmos_venv": "cosmos-venv"}
"""Import root -> distribution of the implementations that are looked for where none is named."""

SERVICES = "cosmos_services"
"""Group of the entry points by which an implementation declares the processes that stay by design."""

_OPTION = "--cosmos-implementation"
_FORMS = "a package name such as cosmos_venv, or module:Adapter"


class ImplementationError(Exception):
    """No implementation can be chosen. The text is one sentence for the person who started pytest."""


@dataclass(frozen=True, kw_only=True)
class Implementation:
    """An installed implementation with Cosmos's import layout.

    :param import_root: the package, such as ``cosmos`` or ``cosmos_venv``.
    :param version: the version that its adapter gives, else the version of its distribution; ``unknown`` without a
        distribution.
    :param adapter_class: the class that ``module:Adapter`` names; None where an import root was named.
    """

    import_root: str
    version: str
    adapter_class: type | None = None

    def module(self, name: str = "") -> ModuleType:
        """Import one of its modules, and return it.

        :param name: the name below the import root, such as ``operators.virtualenv``. Default: the package itself.
        """
        return import_module(f"{self.import_root}.{name}" if name else self.import_root)

    def adapter(self) -> Any:
        """Return a new adapter, through which the conformance suite uses the implementation.

        :raises ImplementationError: no adapter was named, or creating the adapter fails.
        """
        if self.adapter_class is None:
            raise ImplementationError(
                f"{_OPTION}={self.import_root} names no adapter: give module:Adapter, the class with its module."
            )
        name = f"{self.adapter_class.__module__}:{self.adapter_class.__qualname__}"
        try:
            return self.adapter_class()
        except Exception as error:
            raise ImplementationError(f"{_OPTION}={name}: it cannot be made without arguments ({error}).") from error


def find_implementation(named: str | None) -> Implementation:
    """Return the implementation to use without importing it; only the module of ``module:Adapter`` is imported.

    :param named: an import root or ``module:Adapter``, as given by ``--cosmos-implementation``; None takes the only
        installed implementation.
    :raises ImplementationError: the named implementation is not installed; or none was named, and none or several are
        installed.
    """
    if named is None:
        import_root = only_one(_installed())
        return Implementation(import_root=import_root, version=_version(import_root))
    if ":" in named:
        return _adapted(named)
    _require_import_root(named, said=f"{_OPTION}={named}")
    return Implementation(import_root=named, version=_version(named))


def describe_choice(named: str | None) -> str | None:
    """Return the choice for a header, such as ``cosmos 1.15.1``; None where no choice can be told.

    The function imports nothing, and is quick.

    :param named: the name of the implementation, as for ``find_implementation``.
    """
    roots = KNOWN_IMPLEMENTATIONS if named is None else [named]
    versions = {root: _distribution_version(KNOWN_IMPLEMENTATIONS.get(root, "")) for root in roots}
    if named is not None:
        return " ".join(filter(None, (named, versions[named]))) or None
    installed = [f"{root} {version}" for root, version in versions.items() if version]
    return installed[0] if len(installed) == 1 else None


def declared_services(named: str | None) -> tuple[str, ...]:
    """Return patterns of the processes that an implementation leaves running by design, as it declares them itself.

    It declares them with entry points of the group ``cosmos_services``. Each leads to an object of the implementation's
    own package: a pattern of process names or command lines, or a list of such patterns. Only the module of that object
    is imported. An adapter declares more with its attribute ``services``.

    :param named: the name of the implementation, as for ``find_implementation``; None takes every installed
        distribution that declares something.
    :returns: patterns as for file names, each once.
    :raises ImplementationError: a declaration cannot be loaded, or is no pattern; or ``module:Adapter`` cannot be
        loaded.
    """
    adapter = None if named is None or ":" not in named else _adapted(named)
    root = named if adapter is None else adapter.import_root
    found = [
        pattern
        for entry_point in metadata.entry_points(group=SERVICES)
        if root is None or f"{entry_point.module}.".startswith(f"{root}.")
        for pattern in _patterns_of(entry_point)
    ]
    return tuple(dict.fromkeys([*found, *getattr(adapter and adapter.adapter_class, "services", ())]))


def only_one(installed: Sequence[str]) -> str:
    """Return the import root to use where none was named.

    :param installed: import roots of the known implementations that are installed.
    :raises ImplementationError: there is none, or more than one.
    """
    if len(installed) == 1:
        return installed[0]
    if installed:
        raise ImplementationError(
            f"Several implementations are installed ({', '.join(installed)}): say which one with {_OPTION}=IMPORT_ROOT."
        )
    known = " or ".join(f"{distribution} ({root})" for root, distribution in KNOWN_IMPLEMENTATIONS.items())
    raise ImplementationError(
        f"No implementation is installed here: install {known}, or name another one with {_OPTION}=IMPORT_ROOT."
    )


def _adapted(named: str) -> Implementation:
    """Return the implementation of ``module:Adapter``."""
    module, _, name = named.partition(":")
    said = f"{_OPTION}={named}"
    if not (_is_dotted(module) and name.isidentifier()):
        raise ImplementationError(f"{said} is no adapter: give module:Adapter, the class with its module.")
    try:
        adapter = getattr(import_module(module), name)
    except AttributeError:
        raise ImplementationError(f"{said}: module {module} has no {name}.") from None
    except Exception as error:
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        is_found = absent is None or not f"{module}.".startswith(f"{absent}.")
        way_out = (
            "It is there: mend what keeps it from being imported."
            if is_found
            else "Install it, or name its folder: PYTHONPATH=/its/folder. The current directory is not looked through."
        )
        raise ImplementationError(
            f"{said}: module {module} cannot be imported here ({type(error).__name__}: {error}). {way_out}"
        ) from error
    import_root = getattr(adapter, "import_root", None)
    if not isinstance(adapter, type) or not isinstance(import_root, str):
        raise ImplementationError(
            f"{said}: {name} has to be a class whose import_root is the package name of an implementation."
        )
    _require_import_root(import_root, said=f"{said}: its import_root {import_root!r}")
    version = getattr(adapter, "version", None) or _version(import_root)
    return Implementation(import_root=import_root, version=str(version), adapter_class=adapter)


def _patterns_of(entry_point: metadata.EntryPoint) -> Sequence[str]:
    said = f"Entry point {entry_point.name} = {entry_point.value} of the group {SERVICES}"
    try:
        declared = entry_point.load()
    except Exception as error:
        raise ImplementationError(f"{said} cannot be loaded ({type(error).__name__}: {error}).") from error
    patterns = [declared] if isinstance(declared, str) else declared
    if not isinstance(patterns, (list, tuple)) or not all(isinstance(each, str) for each in patterns):
        raise ImplementationError(f"{said} leads to {declared!r}: it has to be a pattern of names, or a list of them.")
    return patterns


def _require_import_root(import_root: str, *, said: str) -> None:
    if not _is_dotted(import_root):
        raise ImplementationError(f"{said} is no import root: give {_FORMS}.")
    if not _is_importable(import_root):
        package, _, last = import_root.rpartition(".")
        hint = f" An adapter is named with a colon, {package}:{last}." if package else ""
        raise ImplementationError(
            f"{said}: no package {import_root} can be imported here; install it into the environment that runs "
            f"pytest, or name another one.{hint}"
        )


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _is_importable(import_root: str) -> bool:
    try:
        spec = util.find_spec(import_root)
    except Exception:  # noqa: BLE001 - a parent package that does not exist, or breaks in its own way
        return False
    # A bare folder of that name (a dbt project called "cosmos") is found as a namespace without a file of its own.
    return spec is not None and spec.origin is not None


def _installed() -> list[str]:
    """Return the import roots of installed distributions. A package that is only on ``sys.path``, without a
    distribution, does not count.
    """
    return [root for root, distribution in KNOWN_IMPLEMENTATIONS.items() if _distribution_version(distribution)]


def _version(import_root: str) -> str:
    top = import_root.partition(".")[0]
    # Editable installations do not list their packages, and looking through all distributions takes its time.
    known = _distribution_version(KNOWN_IMPLEMENTATIONS.get(top, ""))
    if known is not None:
        return known
    distributions = metadata.packages_distributions().get(top, [])
    return next(filter(None, map(_distribution_version, distributions)), "unknown")


def _distribution_version(distribution: str) -> str | None:
    """Return the version of a distribution; None where it is not installed.

    Reads the Version line only; parsing all metadata is slower than the rest of the header.
    """
    found = next(iter(metadata.Distribution.discover(name=distribution)), None) if distribution else None
    text = (found.read_text("METADATA") or found.read_text("PKG-INFO")) if found else None
    version = re.search(r"^Version: *(\S+)", text, re.MULTILINE) if text else None
    return version[1] if version else None
