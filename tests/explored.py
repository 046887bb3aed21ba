"""Bounds of explorations in tests, and the marks of those that go further than others."""

from __future__ import annotations

import pytest

SECONDS = 240.0
"""Real time for one exploration: the machine may be busy with other tests."""
FURTHER = [pytest.mark.long, pytest.mark.exhaustive]
"""The marks of an exploration that does with more interruptions what another one does with fewer."""
