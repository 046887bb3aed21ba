"""Many machines that start at once on an empty store."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.environments.spec import EnvironmentSpec
from tests.environments.archive.forging import record_in
from tests.environments.archive.machines import Machine, RealClock
from tests.kit import OutputOf

A_HANDFUL = 3


def all_at_once(folder: Path, machines: int, spec: EnvironmentSpec, output_of: OutputOf) -> list[dict[str, Any]]:
    """What each machine says: each is a process of its own, and all begin when the last one is there."""
    start, go = os.pipe()
    started = []
    for number in range(machines):
        read_end, write_end = os.pipe()
        child = os.fork()
        if not child:
            os.close(go)
            os.read(start, 1)  # ends when the other end is closed
            said: dict[str, Any] = {"error": ""}
            machine = Machine(directory=folder / f"machine-{number}", remote=folder / "remote", clock=RealClock())
            try:
                said["hello"] = output_of(machine.use(spec).script("hello"))
            except BaseException as error:  # noqa: BLE001 - it is what the test asks for
                said["error"] = f"{type(error).__name__}: {error}"
            os.write(write_end, json.dumps({**said, "builds": machine.has_built, "log": machine.log}).encode())
            os._exit(0)
        os.close(write_end)
        started.append((child, read_end))
    os.close(start)
    os.close(go)
    answers = []
    for child, read_end in started:
        with os.fdopen(read_end, "rb") as pipe:
            answers.append(json.loads(pipe.read()))
        os.waitpid(child, 0)
    return answers


@pytest.mark.parametrize("machines", [12, pytest.param(100, marks=pytest.mark.long)])
def test_a_crowd_on_an_empty_store_builds_once_or_a_few_times(
    tmp_path: Path, hello: EnvironmentSpec, output_of: OutputOf, machines: int
) -> None:
    # Once before: what a fork needs is imported then.
    Machine(directory=tmp_path / "first", remote=tmp_path / "first remote").use(hello)

    answers = all_at_once(tmp_path, machines, hello, output_of)

    assert [answer["error"] for answer in answers if answer["error"]] == []
    assert {answer["hello"] for answer in answers} == {"hello 2.0"}
    builders = [answer["log"] for answer in answers if answer["builds"]]
    assert 1 <= len(builders) <= A_HANDFUL, "\n\n".join(builders)
    assert record_in(tmp_path / "remote").name == hello.portable_digest
    assert list((tmp_path / "remote").rglob("*.lease")) == []
