"""The places of the replay, and the variables by which its command talks to the session that records."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RELEASE = "0.2.0"
RECORDED = HERE.parent / "recording" / RELEASE
MEANT = HERE / "meant.toml"

NAMES = "REPLAY_SCENARIOS"
RECORDS = "REPLAY_RECORDS"
CHECKOUT = "REPLAY_CHECKOUT"
SHARED = "REPLAY_SHARED"
