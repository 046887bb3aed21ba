"""The adapter of the toy: it names the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pytest_cosmos_venv.conformance.adapter import COMMANDS
from pytest_cosmos_venv.conformance.command_adapter import CommandAdapter


class ToyAdapter(CommandAdapter):
    """Judges ``toy.py`` with the Python that ``TOY_PYTHON`` names."""

    command: ClassVar[Sequence[str]] = (
        os.environ.get("TOY_PYTHON", sys.executable),
        "-I",
        str(Path(__file__).with_name("toy.py")),
    )
    has: ClassVar[frozenset[str]] = frozenset({*COMMANDS.values(), "partial_parse", "vars"})
