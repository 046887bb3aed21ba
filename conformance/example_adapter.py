"""An adapter: it tells ``pytest --cosmos-conformance`` how a task of your implementation runs.

It works as it stands: its tasks make a virtual environment, install dbt with pip and run dbt. Answer the four questions
below, one after the other, and run the suite after each answer:

    PYTHONPATH=. pytest --cosmos-conformance --cosmos-implementation=my_adapter:MyAdapter --cosmos-requirement=ENV-002

``python -m pydoc pytest_cosmos_venv.conformance.adapter`` describes all that an adapter can say.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pytest_cosmos_venv.conformance.adapter import Adapter, Outcome, Task
from pytest_cosmos_venv.throwaway import throwaway_folder


class MyAdapter(Adapter):
    """Answers to the four questions."""

    # QUESTION 1: Which Python package is judged? It is imported beside pytest. For a command line in an environment of
    # its own, name the module of this adapter. Without ``version``, the report has the version of the distribution.
    import_root = "venv"
    version = "0.1"

    # QUESTION 2: What can the implementation do beside `dbt run`? Names of CAPABILITIES, such as "vars":
    # docs/how-to/conformance.md lists them. Requirements that need other capabilities do not apply.
    has: ClassVar[frozenset[str]] = frozenset()

    # QUESTION 3: Which profiles, beside core, does the implementation promise? Names of PROFILES, such as "locks".
    profiles: ClassVar[frozenset[str]] = frozenset()

    def perform(self, task: Task) -> Outcome:
        """Run a task to its end, in this process. SIGTERM ends the program that runs.

        :param task: the dbt command, and its arguments.
        """
        kept = None if task.arguments.get("is_virtualenv_dir_temporary") else task.arguments.get("virtualenv_dir")
        with throwaway_folder("my-implementation-") as temporary, tempfile.TemporaryFile() as output:
            code = 0
            for command in self.commands(task, Path(str(kept)) if kept else temporary / "venv"):
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
                signal.signal(signal.SIGTERM, lambda *_, process=process: process.terminate())
                if code := process.wait():
                    break
            output.seek(0)
            log = output.read().decode(errors="backslashreplace")
        if not code:
            return Outcome(state="success", log=log)
        return Outcome(state="failed", exception=f"exit code {code}: {log.strip()[-1000:]}", log=log)

    def commands(self, task: Task, environment: Path) -> Iterator[list[str]]:
        """The programs that a task runs, one after the other, as long as none of them fails.

        :param task: the dbt command, and its arguments.
        :param environment: the folder of the virtual environment.
        """
        # QUESTION 4: How does the implementation run a task? Put its command line in place of these three programs, or
        # call its functions in ``perform``. docs/how-to/conformance.md lists all arguments that a task may have.
        given = task.arguments
        python = str(environment / "bin" / "python")
        options = [*(given.get("pip_install_options") or ()), *(given.get("py_requirements") or ())]
        yield [sys.executable, "-m", "venv", str(environment)]
        yield [python, "-m", "pip", "install", *map(str, options)]
        profile = ["--profile", str(task.profile["profile_name"]), "--target", str(task.profile["target_name"])]
        folders = ["--profiles-dir", str(Path(str(task.profile["profiles_yml_filepath"])).parent)]
        folders += ["--project-dir", str(given["project_dir"])]
        yield [str(environment / "bin" / "dbt"), *task.command.split(), *profile, *folders]
