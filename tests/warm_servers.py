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
    """Send SIGTERM to a server; its running commands go on."""
    os.kill(place.note()["pid"], signal.SIGTERM)


def stop_servers(folder: str) -> None:
    """End the warm dbt servers whose files lie below a folder; the caller then removes the folder.

    A server without a note is still importing dbt, for example on a busy machine; it ends when its files are removed.
    """
    for place in live_servers():
        if place.folder.is_relative_to(folder) and place.note():
            stop(place)
