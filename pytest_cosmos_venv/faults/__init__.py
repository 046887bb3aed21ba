"""Faults that a test asks for by a mark, each made to happen for real while the test runs a DAG."""

from __future__ import annotations

MARK = "cosmos_fault"
"""The name of the mark."""
