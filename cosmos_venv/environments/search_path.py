"""Where else a ready environment may stand: stores that are looked at and never written to, such as one in an image."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from cosmos_venv.environments.environment import Damaged, Environment
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.guarded import Cancellation

PARAMETER = "virtualenv_search_path"


def stores_of(text: str) -> list[EnvironmentStore]:
    """The stores of a search path, which is written as ``PATH`` is. A directory that does not exist is an empty store.

    :raises CosmosValueError: naming ``virtualenv_search_path``, for a relative path.
    """
    paths = [Path(entry.strip()) for entry in text.split(os.pathsep) if entry.strip()]
    for path in paths:
        if not path.is_absolute():
            raise CosmosValueError(
                f"[cosmos_venv] {PARAMETER}: {str(path)!r} is relative, and would be another directory for each "
                "process. Write the whole path."
            )
    return [EnvironmentStore(path, parameter=PARAMETER, is_read_only=True) for path in paths]


def find_first(
    stores: Iterable[EnvironmentStore],
    spec: EnvironmentSpec,
    *,
    instead_of: Damaged | None = None,
    cancellation: Cancellation | None = None,
) -> Environment | None:
    """The ready environment of the first store that has one, leased where its mount allows it; the caller closes it.

    :param instead_of: a build that counts as none.
    :raises VirtualenvError: when a store cannot be read, or somebody else can have written there.
    :raises CommandKilled: when ``cancellation`` was requested meanwhile.
    """
    found = (store.find(spec, instead_of=instead_of, cancellation=cancellation) for store in stores)
    return next((environment for environment in found if environment is not None), None)
