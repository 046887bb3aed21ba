"""The servers of warm dbts that tests have started."""

from __future__ import annotations

from cosmos_venv.dbt.warm import servers


def stop_servers(folder: str) -> None:
    """End the servers of warm dbts that have their files below this folder."""
    for place in servers.servers():
        if place.folder.is_relative_to(folder):
            servers.stop(place)
