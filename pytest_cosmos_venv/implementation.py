"""Which implementation is used and judged: the one that was named, or the only one that is installed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module, metadata, util
from types import ModuleType

KNOWN_IMPLEMENTATIONS = {"cosmos": "astronomer-cosmos", "cosmos_venv": "cosmos-venv"}
"""Import root -> distribution of what is looked for where nothing is named."""


class ImplementationError(Exception):
    """No implementation can be chosen. The text is one sentence for whoever started pytest."""


@dataclass(frozen=True, kw_only=True)
class Implementation:
    """An installed implementation with Cosmos's import layout.

    :param import_root: such as ``cosmos`` or ``cosmos_venv``.
    :param version: of its distribution; ``unknown`` where it belongs to none.
    """

    import_root: str
    version: str

    def module(self, name: str = "") -> ModuleType:
        """Import one of its modules.

        :param name: below the import root, such as ``operators.virtualenv``; the package itself without one.
        """
        return import_module(f"{self.import_root}.{name}" if name else self.import_root)


def find_implementation(named: str | None) -> Implementation:
    """The implementation to use. Nothing of it is imported.

    :param named: an import root, as given by ``--cosmos-implementation``; None takes the one that is installed.
    :raises ImplementationError: the named one is not installed, or none was named and none or several are there.
    """
    import_root = _named(named) if named is not None else only_one(_installed())
    return Implementation(import_root=import_root, version=_version(import_root))


def only_one(installed: Sequence[str]) -> str:
    """The import root to use where none was named.

    :param installed: import roots of the known implementations that are there.
    :raises ImplementationError: there is none, or more than one.
    """
    if len(installed) == 1:
        return installed[0]
    if installed:
        raise ImplementationError(
            f"Several implementations are installed ({', '.join(installed)}): say which one with "
            "--cosmos-implementation=IMPORT_ROOT."
        )
    known = " or ".join(f"{distribution} ({root})" for root, distribution in KNOWN_IMPLEMENTATIONS.items())
    raise ImplementationError(
        f"No implementation is installed here: install {known}, or name another one with "
        "--cosmos-implementation=IMPORT_ROOT."
    )


def _named(import_root: str) -> str:
    if not all(part.isidentifier() for part in import_root.split(".")):
        raise ImplementationError(
            f"--cosmos-implementation={import_root} is no import root: give a package name such as cosmos_venv."
        )
    if not _is_importable(import_root):
        raise ImplementationError(
            f"--cosmos-implementation={import_root}: no package {import_root} can be imported here; install it into "
            "the environment that runs pytest, or name another one."
        )
    return import_root


def _is_importable(import_root: str) -> bool:
    try:
        spec = util.find_spec(import_root)
    except ImportError:  # a parent package that does not exist, or breaks
        return False
    # A bare folder of that name (a dbt project called "cosmos") is found as a namespace without a file of its own.
    return spec is not None and spec.origin is not None


def _installed() -> list[str]:
    """Asks for distributions: a checkout that merely lies on the path was not chosen by anybody."""
    return [root for root, distribution in KNOWN_IMPLEMENTATIONS.items() if _distribution_version(distribution)]


def _version(import_root: str) -> str:
    top = import_root.partition(".")[0]
    # Editable installations do not list their packages; the known ones are known by name.
    distributions = [KNOWN_IMPLEMENTATIONS.get(top, ""), *metadata.packages_distributions().get(top, [])]
    return next(filter(None, map(_distribution_version, filter(None, distributions))), "unknown")


def _distribution_version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
