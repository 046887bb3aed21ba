"""The servers of warm dbts that tests have started."""

from __future__ import annotations

import os
import signal

from cosmos_venv.dbt.warm import servers
from cosmos_venv.dbt.warm.servers import ServerPaths, is_private, note_in


def live_servers() -> list[ServerPaths]:
    """The live servers that have their files where this process looks for them."""
    return [
        ServerPaths(folder=folder, key=path.stem)
        for folder in servers.folders()
        for path in (sorted(folder.glob("*.lock")) if folder.is_dir() and is_private(folder.lstat()) else ())
        if note_in(path) is not None
    ]


def stop(place: ServerPaths) -> None:
    """Tell a server to end; its commands run on."""
    os.kill(place.note()["pid"], signal.SIGTERM)


def stop_servers(folder: str) -> None:
    """End the servers of warm dbts that have their files below this folder, which its caller removes.

    A server without a note still imports dbt, as on a busy machine; it ends with its files.
    """
    for place in live_servers():
        if place.folder.is_relative_to(folder) and place.note():
            stop(place)
