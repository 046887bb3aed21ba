"""``python -m pytest_cosmos_venv.dags``: the command ``cosmos-dag-shape``, where no scripts are installed."""

from __future__ import annotations

import sys

from pytest_cosmos_venv.dags.command import main

if __name__ == "__main__":
    sys.exit(main())
