"""A toy that runs dbt in virtual environments, as a program that the suite talks to by lines of JSON.

It needs the standard library alone, and knows neither pytest nor the suite.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

READY = "ready.json"


class TaskError(Exception):
    """The task has failed; the text says why."""


class EndedError(BaseException):
    """The task was told to end."""


def main() -> None:
    """Answer one message."""
    request = json.loads(sys.stdin.readline())
    answer: dict[str, Any] = {"protocol": 1, "name": "toy", "version": "0.1"}
    if request["message"] == "run":
        signal.signal(signal.SIGTERM, end)
        threading.Thread(target=end_with_standard_input, daemon=True).start()
        answer = {"state": "success"}
        try:
            run(request["command"], request["profile"], request["arguments"])
        except (TaskError, OSError, EndedError) as error:
            answer = {"state": "failed", "exception": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
    os._exit(0)  # the end of standard input is no order any more


def end(*_: object) -> None:
    """End the task, once."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise EndedError("told to end")


def end_with_standard_input() -> None:
    """End the task where the process that has asked for it is gone."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def run(command: str, profile: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Run a dbt command in an environment with the requirements."""
    if not given.get("py_requirements"):
        raise TaskError("py_requirements is empty: name dbt-core and an adapter.")
    kept = None if given.get("is_virtualenv_dir_temporary") else given.get("virtualenv_dir")
    words = [*command.split(), *([given["macro_name"]] if "macro_name" in given else [])]
    words += ["--profile", profile["profile_name"], "--target", profile["target_name"]]
    words += ["--profiles-dir", str(Path(profile["profiles_yml_filepath"]).parent)]
    words += [] if given.get("partial_parse", True) else ["--no-partial-parse"]
    words += ["--vars", json.dumps(given["vars"])] if given.get("vars") else []
    variables = {**(os.environ if given.get("append_env", True) else {}), **(given.get("env") or {})}
    with environment(kept) as folder:
        install(folder, given["py_requirements"], given.get("pip_install_options") or ())
        program([str(folder / "bin" / "dbt"), *words], cwd=given["project_dir"], variables=variables)


@contextmanager
def environment(kept: str | None) -> Iterator[Path]:
    """A folder that is gone afterwards; or the kept one, for which tasks wait."""
    if kept is None:
        folder = Path(tempfile.mkdtemp(prefix="toy-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    Path(kept).mkdir(parents=True, exist_ok=True)
    with Path(f"{kept}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(kept)


def install(folder: Path, requirements: Sequence[str], options: Sequence[str]) -> None:
    """Make the environment, unless the same one is there."""
    ready, told = folder / READY, json.dumps(requirements)
    if ready.exists() and ready.read_text() == told:
        return
    ready.unlink(missing_ok=True)
    uv, python = shutil.which("uv"), str(folder / "bin" / "python")
    program([sys.executable, "-m", "venv", "--clear", *(["--without-pip"] if uv else []), str(folder)])
    pip = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
    program([*pip, *options, *requirements])
    ready.write_text(told)


def program(words: Sequence[str], *, cwd: str | None = None, variables: Mapping[str, str] = os.environ) -> None:
    """Run a program to its end, or to the end of the task; its output is a part of the log, and of its error."""
    clean = {name: value for name, value in variables.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(
            words, cwd=cwd, env=clean, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = process.wait()
        finally:
            for number in (signal.SIGINT, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=2)
            output.seek(0)
            sys.stderr.write(said := output.read())
    if code:
        raise TaskError(f"{Path(words[0]).name} ended with {code}: {said.strip()[-2000:]}")


if __name__ == "__main__":
    main()
