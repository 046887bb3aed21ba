"""``python -m cosmos_venv.cli``, where the console script is not on PATH."""

from __future__ import annotations

import sys

from cosmos_venv.cli import main

sys.exit(main())
