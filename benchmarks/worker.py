"""One Airflow worker of any implementation: imports first, then runs the tasks that standard input asks for.

    python worker.py IMPORT_ROOT ANSWERS

``ANSWERS`` is the descriptor that answers go to: Airflow logs where it likes. Knows the standard library, Airflow and
the implementation, so that it runs in the environment of any of them.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from airflow import DAG

_INSTALLERS = ("uv", "pip", "venv", "virtualenv", "ensurepip")


class Anything:
    """A value of a task's context that answers every attribute and call, which is all that a benchmark needs."""

    def __getattr__(self, name: str) -> Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: Any, **__: Any) -> Anything:
        return self

    def __getitem__(self, key: object) -> Anything:
        return self

    def __iter__(self) -> Iterator[Anything]:
        return iter(())

    def __str__(self) -> str:
        return "anything"


class Context(dict[str, Any]):
    """The context of a task that no scheduler has started."""

    def __missing__(self, key: str) -> Any:
        return Anything()


def main(root: str, answers: int) -> None:
    """Answer ``{"ready": true}``, and then each line of standard input, in JSON."""
    operators = {mode: import_module(f"{root}.operators.{mode}") for mode in ("virtualenv", "local")}
    profile_config = import_module(f"{root}.config").ProfileConfig
    invocation_mode = import_module(f"{root}.constants").InvocationMode
    started: list[list[str]] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen":
            started.append([os.fsdecode(word) for word in arguments[1]])

    sys.addaudithook(watch)
    with os.fdopen(answers, "w", buffering=1) as output:
        print(json.dumps({"ready": True}), file=output)
        for line in sys.stdin:
            started.clear()
            order = json.loads(line)
            if "invocation_mode" in order["arguments"]:
                order["arguments"]["invocation_mode"] = invocation_mode(order["arguments"]["invocation_mode"])
            answer = run_task(operators, profile_config, order)
            answer["installers"] = sum(map(_is_installer, started))
            print(json.dumps(answer), file=output)


def run_task(operators: dict[str, Any], profile_config: Any, order: dict[str, Any]) -> dict[str, Any]:
    """One task, and then dbt alone with the same selection.

    :param order: ``mode``, ``project`` and ``arguments`` of the operator, whose dbt command is ``run``; ``alone``: the
        dbt to run alone, if any.
    """
    project, mode = Path(order["project"]), order["mode"]
    profile = profile_config(profile_name="harbor", target_name="dev", profiles_yml_filepath=project / "profiles.yml")
    operator = getattr(operators[mode], f"DbtRun{mode.capitalize()}Operator")(
        task_id="run", project_dir=project, profile_config=profile, dag=DAG("harbor"), **order["arguments"]
    )
    error, cpu = None, _cpu_seconds()
    began = time.time()
    try:
        operator.execute(Context())
    except Exception as caught:  # noqa: BLE001 - whatever it is, it is a figure of the table
        error = f"{type(caught).__name__}: {caught}"
    ended = time.time()
    answer = {"began": began, "ended": ended, "cpu": _cpu_seconds() - cpu, "error": error}
    if order.get("alone"):
        selected = ["--select", order["arguments"]["select"]] if "select" in order["arguments"] else []
        words = ["run", *selected, "--project-dir", str(project), "--profiles-dir", str(project)]
        alone, cpu = time.time(), _cpu_seconds()
        subprocess.run([order["alone"], *words], cwd=project, stdout=subprocess.DEVNULL, check=False)
        answer |= {"alone": time.time() - alone, "cpu_alone": _cpu_seconds() - cpu}
    return answer


def _is_installer(argv: list[str]) -> bool:
    return any(Path(word).name in _INSTALLERS for word in argv)


def _cpu_seconds() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
