"""An adapter to a command line: it has one hook, how a task is performed."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pytest_cosmos_venv.conformance.adapter import COMMANDS, Adapter, Outcome, Task

_FLAGS = {
    "select": "--select",
    "exclude": "--exclude",
    "profile_name": "--profile",
    "target_name": "--target",
}


class TinyAdapter(Adapter):
    """Judges ``python -m tiny``."""

    version = "0.1"
    import_root = "tiny"
    has: ClassVar[frozenset[str]] = frozenset({*COMMANDS.values(), "temporary_prefix"})

    def perform(self, task: Task) -> Outcome:
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tiny", *self._words(task)], stdout=output, stderr=subprocess.STDOUT
            )
            signal.signal(signal.SIGTERM, lambda *_: process.terminate())
            code = process.wait()
            output.seek(0)
            log = output.read().decode(errors="backslashreplace")
        return Outcome(state="failed" if code else "success", exception=f"exit code {code}" if code else None, log=log)

    def _words(self, task: Task) -> list[str]:
        given = task.arguments
        words = [word for need in given.get("py_requirements") or () for word in ("--need", str(need))]
        words += [f"--pip={option}" for option in given.get("pip_install_options") or ()]
        if given.get("virtualenv_dir") and not given.get("is_virtualenv_dir_temporary"):
            words += ["--keep", str(given["virtualenv_dir"])]
        profiles = Path(str(task.profile["profiles_yml_filepath"])).parent
        macro = [str(given["macro_name"])] if "macro_name" in given else []
        command = [*task.command.split(), *macro, *_flags(given), *_flags(task.profile)]
        return [*words, str(given["project_dir"]), str(profiles), *command]


def _flags(given: Mapping[str, object]) -> list[str]:
    return [word for name, flag in _FLAGS.items() if given.get(name) for word in (flag, str(given[name]))]
