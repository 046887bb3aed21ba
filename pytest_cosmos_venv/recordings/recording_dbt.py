"""A ``dbt`` that is a script: it starts a real one, and keeps what came of it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from pytest_cosmos_venv.recordings.recorder import REPLACING

_CODE = "import sys; sys.path.insert(0, {root!r}); from pytest_cosmos_venv.recordings.recorder import main; main()"


def write_recording_dbt(dbt: Path | str, recording: Path, place: Path, *, replacing: Path | None = None) -> Path:
    """Write a script that records each of its calls, and return its path.

    :param dbt: the executable of the real dbt: an absolute path, or a name that is looked for when it is called.
    :param recording: the folder of the recording, which may be missing.
    :param place: the path of the script, whose folder may be missing; a file there is replaced.
    :param replacing: where this file exists when a command is kept, the command replaces all earlier ones, and the
        file is removed.
    """
    root = str(Path(__file__).resolve().parents[2])
    options = [] if replacing is None else [REPLACING, str(replacing.absolute())]
    words = [sys.executable, "-I", "-c", _CODE.format(root=root), str(recording.absolute()), *options, "--", str(dbt)]
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f".{place.name}-draft")
    draft.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
    draft.chmod(0o755)
    # In one step: a script that is replaced may be running.
    draft.replace(place)
    return place
