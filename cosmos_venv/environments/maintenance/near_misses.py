"""Environments of a search path that hold what is wanted, of a Python that is not here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cosmos_venv.environments.environment import BuildRecord
from cosmos_venv.environments.maintenance.inventory import StoredBuild, read_inventory
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError


def near_misses(stores: Iterable[EnvironmentStore], spec: EnvironmentSpec) -> Iterator[str]:
    """Yield a sentence for each environment that would be found if its Python were here.

    :param stores: that were looked at, and have none that can be used.
    :param spec: what was looked for.
    """
    for store in stores:
        try:
            builds = read_inventory(store)
        except (VirtualenvError, CosmosValueError):
            continue  # there is none, or its fault is told by whoever looks for an environment there
        for stored in builds:
            if stored.state == "ready" and stored.record and (why := _why_missed(stored, stored.record, spec)):
                yield (
                    f"{store.directory} holds it, {why}. Use an image that has that Python at that path, or fill the "
                    "store where the Python is the one of the tasks."
                )


def _why_missed(stored: StoredBuild, record: BuildRecord, spec: EnvironmentSpec) -> str:
    """Return why a build is not found, as a clause; empty where it is another environment."""
    built, wanted = record.spec.interpreter, spec.interpreter
    if record.digest == spec.digest:
        python = stored.path / "bin" / "python"
        return "" if python.exists() else f"made of a Python that is not here: {built.executable}"
    redacted = spec.redacted
    same_words = all(
        getattr(record.spec, name) == tuple(redacted[name]) for name in ("requirements", "pip_install_options")
    )
    if built == wanted or not same_words:
        return ""
    return (
        f"made of {built.implementation} {built.version} at {built.executable}, and the task has "
        f"{wanted.implementation} {wanted.version} at {wanted.executable}"
    )
