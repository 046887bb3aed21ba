"""What has pytest-xdist to do with races? In the process that hands out the tests; loaded only where it is in use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_cosmos_venv.racers.forms import OFFER
from pytest_cosmos_venv.racers.switch import Switch

if TYPE_CHECKING:
    from pytest_cosmos_venv.racers.xdist_types import Worker

_SWITCH = pytest.StashKey[Switch]()


def offer(node: Worker) -> None:
    """Say in the worker's input that races are handed out here; nothing where they cannot be."""
    root = _root(node.config)
    if root is not None:
        node.workerinput[OFFER] = {"folder": str(root), "workers": len(_specs(node.config))}


def switch(config: pytest.Config, scheduler: Any) -> Any:
    """That scheduler with races taken out of its sight."""
    root = _root(config)
    if root is None or scheduler is None:
        return scheduler
    config.stash[_SWITCH] = Switch(scheduler, root=root, workers=len(_specs(config)))
    return config.stash[_SWITCH]


def down(node: Worker, error: object | None) -> None:
    """That worker has ended, or crashed."""
    found = node.config.stash.get(_SWITCH, None)
    if found is not None:
        found.down(node, error)


def _root(config: pytest.Config) -> Path | None:
    """Where racers of several workers meet; None where they cannot: each worker runs all tests, or is elsewhere."""
    factory: pytest.TempPathFactory | None = getattr(config, "_tmp_path_factory", None)
    if factory is None or config.getoption("dist") == "each" or not all("popen" in spec for spec in _specs(config)):
        return None
    return factory.getbasetemp() / "cosmos-races"


def _specs(config: pytest.Config) -> list[str]:
    from xdist.workermanage import parse_tx_spec_config  # type: ignore[import-untyped]

    specs: list[str] = parse_tx_spec_config(config)
    return specs
