"""Bounds and marks of explorations in tests."""

from __future__ import annotations

import pytest

SECONDS = 240.0
"""Real seconds for one exploration: the machine may be busy with other tests."""
PROOF = [pytest.mark.long, pytest.mark.proof]
"""The marks of an exploration that .ci/run always does."""
FURTHER = [pytest.mark.long]
"""The marks of an exploration that repeats another exploration with more interruptions."""
