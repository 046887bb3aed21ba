"""Makes ``tools`` importable, which is in no distribution, also for a bare ``pytest``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
