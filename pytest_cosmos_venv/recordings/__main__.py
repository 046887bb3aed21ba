"""``python -m pytest_cosmos_venv.recordings FOLDER -- DBT ...`` records one command."""

from __future__ import annotations

from pytest_cosmos_venv.recordings.recorder import main

main()
