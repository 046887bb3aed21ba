"""What may end the judge, or speak for it, before the suite has closed: here as plugins that are named with ``-p``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


class LeavesAtTheEnd:
    """Ends the process with 0 when the report is written."""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        os._exit(0)


class ChangesTheExitCode:
    """Ends the process with 0, whatever the suite has closed with."""

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        session: Any = config.pluginmanager.get_plugin("session")
        session.exitstatus = 0 if session.exitstatus else 1


class WritesAReport:
    """Puts a report in the place of the one that the suite has written."""

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        if not hasattr(config, "workerinput"):
            Path(config.getoption("cosmos_report"), "report.json").write_text("{}", encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Register the one that a variable names."""
    config.pluginmanager.register(globals()[os.environ["RUDE_PLUGIN"]]())
