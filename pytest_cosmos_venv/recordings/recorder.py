"""The recorder: runs a real dbt with the recorder's own input and output, and adds the command to a recording.

``python -m pytest_cosmos_venv.recordings FOLDER -- /path/to/dbt build --select orders`` records one command.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pytest_cosmos_venv.recordings.command_files import CommandContext, keep_command
from pytest_cosmos_venv.recordings.observed_process import end_like, run_observed

_USAGE = "usage: python -m pytest_cosmos_venv.recordings FOLDER -- DBT [ARGUMENT ...]"
_NOT_FOUND = 127
_CODE = "import sys; sys.path.insert(0, {root!r}); from pytest_cosmos_venv.recordings.recorder import main; main()"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run dbt, add the command to a recording, and exit as dbt did.

    :param arguments: the folder of the recording, ``--``, and the command line of dbt; None: the arguments of this
        process.
    :raises SystemExit: the arguments have another form, or dbt cannot be started.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if len(words) < 3 or words[1] != "--":
        raise SystemExit(_USAGE)
    folder, command = Path(words[0]), words[2:]
    logs = Path(tempfile.mkdtemp(prefix="cosmos-record-"))
    try:
        context = CommandContext.of(command, logs=logs)
        try:
            end = run_observed(command, context.variables)
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)
            raise SystemExit(_NOT_FOUND) from None
        try:
            keep_command(folder, context, end)
        except OSError as error:
            # dbt has run, so the exit code must be dbt's, even though the recording failed.
            print(f"cosmos: {folder}: this command was not recorded: {error}", file=sys.stderr)
    finally:
        shutil.rmtree(logs, ignore_errors=True)
    end_like(end.exit_code)


def write_recording_dbt(dbt: Path | str, recording: Path, place: Path) -> Path:
    """Write a script that records each of its calls, and return its path.

    :param dbt: the executable of the real dbt: an absolute path, or a name that each call looks up on PATH.
    :param recording: the folder of the recording, which may be missing.
    :param place: the path of the script, whose folder may be missing; a file there is replaced.
    """
    root = str(Path(__file__).resolve().parents[2])
    words = [sys.executable, "-I", "-c", _CODE.format(root=root), str(recording.absolute()), "--", str(dbt)]
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f".{place.name}-draft")
    draft.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
    draft.chmod(0o755)
    # Replaced atomically, because the old script may be running.
    draft.replace(place)
    return place
