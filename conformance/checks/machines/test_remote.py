"""REMOTE: environments that one machine has built and others fetch from a folder that all of them reach."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import CosmosDbt, DbtCall
from pytest_cosmos_venv.environments.wheel import Wheel
from pytest_cosmos_venv.races.points import Point

from ...adapter import Task
from ...harness.harness import Harness
from ...harness.runs import (
    damage,
    files_with,
    installed,
    is_below,
    places,
    point,
    ran,
    require_hidden,
    require_kept,
    unpacked,
    unpacking_begins,
)
from ...requirements import requirement

LEFT_IN_PEACE = 60.0
"""Seconds that a task may wait for the folder, or for another machine, where nothing is in its way."""
IMPATIENT = 2.0
"""Seconds that a task may wait for a machine that was killed."""
_LARGE = 200_000
"""Bytes: a file of this size in the folder shows that an environment was put there."""
LAMP = Wheel(name="harbor-lamp", version="1.0", files={"harbor_lamp.py": ""})
# Large enough that packing and unpacking take a while: random digits do not compress well.
HEAVY_LAMP = replace(
    LAMP, version="1.1", files={f"harbor_lamp/beam_{number}.txt": secrets.token_hex(2_000) for number in range(300)}
)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine whose tasks share only a folder with the tasks of other machines.

    :param harness: the harness of the test.
    :param name: the name of the folder with its own files.
    :param folder: all machines reach it.
    :param key: the secret of the machines that trust each other.
    """

    harness: Harness
    name: str
    folder: Path
    key: str = field(repr=False)

    @property
    def virtualenv_dir(self) -> Path:
        """Where it has its environments: the same path on all machines, as in containers of one image."""
        return self.harness.folder / "virtualenvs"

    @property
    def key_file(self) -> Path:
        """The file with the key of this machine."""
        return self._own / "key"

    @property
    def _own(self) -> Path:
        return self.harness.folder / self.name

    def task(self, **arguments: Any) -> Task:
        """A task of this machine, whose environment holds ``harbor-lamp`` too.

        :param **arguments: as for ``Harness.task``.
        """
        requirements = [*self.harness.requirements(), "harbor-lamp"]
        return self.harness.task(virtualenv_dir=str(self.virtualenv_dir), py_requirements=requirements, **arguments)

    def variables(self, *, seconds: float = LEFT_IN_PEACE) -> dict[str, str]:
        """Variables for the next tasks of this machine. The machine's own ``virtualenv_dir`` is put in place first.

        :param seconds: that a task waits at most for the folder, or for another machine.
        """
        self._own.mkdir(exist_ok=True)
        self._take_turn()
        self.key_file.write_text(self.key, encoding="ascii")
        self.key_file.chmod(0o600)
        temporary = self._own / "temporary"
        temporary.mkdir(exist_ok=True)
        variables = self.harness.ask("remote_environments", folder=self.folder, key_file=self.key_file, seconds=seconds)
        if isinstance(variables, str):
            pytest.skip(variables)
        assert variables, (
            "an implementation that fetches environments must say how that is set: override "
            "Adapter.remote_environments, or leave the profile machines out; seen: no variable"
        )
        return {"TMPDIR": str(temporary), **variables}

    def _take_turn(self) -> None:
        """Move away the ``virtualenv_dir`` of the machine that ran before, and move this machine's to that place."""
        turn = self.harness.folder / "turn"
        before = turn.read_text(encoding="utf-8") if turn.exists() else self.name
        if before != self.name and self.virtualenv_dir.exists():
            self.virtualenv_dir.rename(self.harness.folder / before / "virtualenvs")
        if (self._own / "virtualenvs").exists():
            (self._own / "virtualenvs").rename(self.virtualenv_dir)
        turn.write_text(self.name, encoding="utf-8")

    def ran(
        self, task: Task | None = None, *, others: Mapping[str, str] | None = None, seconds: float = LEFT_IN_PEACE
    ) -> DbtCall:
        """The one ``dbt run`` of a task, which must succeed and run from an undamaged environment of this machine.

        :param task: what to run; None: the usual.
        :param others: variables beside the usual ones.
        :param seconds: the same as for ``variables``.
        """
        __tracebackhide__ = True
        call = ran(self.harness, task or self.task(), {**(others or {}), **self.variables(seconds=seconds)})
        required = {*self.harness.distributions, "harbor_lamp"}
        place, names = self.virtualenv_dir, {each.split("-")[0] for each in installed(call.prefix)}
        assert is_below(call.prefix, place), f"dbt must run from below {place}; seen: {call.prefix}"
        assert names == required, f"the environment must hold {sorted(required)}; seen: {sorted(names)}"
        assert not damage(call.prefix), f"all files of the environment must be whole; seen: {damage(call.prefix)[:3]}"
        return call


@pytest.fixture
def first(harness: Harness) -> Machine:
    """A machine.

    :param harness: the harness of the test.
    """
    harness.wheelhouse.add(LAMP)
    key = secrets.token_urlsafe(32)
    return Machine(harness=harness, name="first", folder=harness.folder / "store", key=key)


@pytest.fixture
def second(first: Machine) -> Machine:
    """Another machine, with the same folder and the same key.

    :param first: the first machine.
    """
    return replace(first, name="second")


def _stored(folder: Path) -> list[Path]:
    """The files of a folder, in order."""
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _put(folder: Path) -> list[Path]:
    """The files of a folder, in order, which must not be empty: a task has put an environment there."""
    files = _stored(folder)
    assert files, "a task that has built an environment must put it into the folder; seen: no file in it"
    return files


@requirement("REMOTE-001")
def test_a_machine_without_an_index_runs_what_another_one_has_built(
    first: Machine, second: Machine, cosmos_dbt: CosmosDbt
) -> None:
    index = cosmos_dbt.index
    first.ran(first.task(pip_install_options=index.pip_install_options), others=index.environment)
    index.fall_silent_while(lambda: True)

    second.ran(second.task(pip_install_options=index.pip_install_options), others=index.environment)


@requirement("REMOTE-002")
@pytest.mark.parametrize("changed", ["each file in turn", "all files"])
def test_what_somebody_without_the_key_has_put_there_never_runs(first: Machine, changed: str) -> None:
    strange = first.folder.with_name("strange")
    harness, stranger = first.harness, replace(first, name="stranger", folder=strange, key="another key " * 3)
    canary = harness.folder / "canary"
    first.ran()
    hostile = harness.wheelhouse.add(_with_a_canary(canary))
    stranger.ran()
    hostile.unlink()
    assert canary.exists(), "each Python of the stranger's environment must leave a file, or this test shows nothing"
    ours, theirs = _put(first.folder), _put(stranger.folder)

    # Both folders have the same kinds of files in the same order, so an archive replaces an archive.
    attacks = [dict([pair]) for pair in zip(ours, theirs, strict=False)] if changed == "each file in turn" else [None]
    for number, attack in enumerate(attacks):
        victim = replace(first, name=f"victim-{number}", folder=first.folder.with_name(f"store-{number}"))
        shutil.copytree(stranger.folder if attack is None else first.folder, victim.folder)
        for place, content in (attack or {}).items():
            shutil.copyfile(content, victim.folder / place.relative_to(first.folder))
        canary.unlink(missing_ok=True)

        harness.run(victim.task(), variables=victim.variables())

        what = "all files" if attack is None else f"{next(iter(attack)).name}, one of {len(ours)} files,"
        assert not canary.exists(), f"nothing that somebody without the key has put there may run; seen: {what} ran"


def _with_a_canary(canary: Path) -> Wheel:
    """The next release of the lamp: with it each Python of an environment leaves a file when it starts."""
    line = f"import pathlib; pathlib.Path({str(canary)!r}).touch()\n"
    return Wheel(name=LAMP.name, version="2.0", files={"harbor_lamp.pth": line})


@requirement("REMOTE-003")
@pytest.mark.parametrize("kind", ["a file", "read-only", "cut short", "garbage"])
def test_a_folder_that_cannot_be_used_fails_no_task(first: Machine, second: Machine, kind: str) -> None:
    if kind == "a file":
        second.folder.write_text("no folder", encoding="ascii")
    elif kind == "read-only":
        second.folder.mkdir()
    else:
        first.ran()
        for file in _put(second.folder):
            content = file.read_bytes()
            file.write_bytes(content[: len(content) // 2] if kind == "cut short" else secrets.token_bytes(len(content)))

    second.ran(second.task(place={kind: str(second.folder)} if kind == "read-only" else {}))


@requirement("REMOTE-004")
def test_a_task_that_has_its_environment_needs_no_folder(first: Machine) -> None:
    ready = first.ran()
    before = unpacked(ready.prefix)
    shutil.rmtree(first.folder, ignore_errors=True)

    call = first.ran()

    require_kept("a task must use the environment that it has", ready.prefix, before, call)
    assert not first.folder.exists(), (
        f"a task that has its environment must not make the folder anew; seen: {first.folder}"
    )


@requirement("REMOTE-005")
@pytest.mark.parametrize("what", ["begins", "puts", "fetches"])
def test_a_machine_that_dies_does_no_harm(
    first: Machine, second: Machine, what: str, evidence: Callable[[str], None]
) -> None:
    harness, victim = first.harness, second if what == "fetches" else first
    harness.wheelhouse.add(HEAVY_LAMP)
    if what == "fetches":
        first.ran()
    kill_at = {
        "begins": _holds(first.folder, 1),
        "puts": _holds(first.folder, _LARGE),
        "fetches": unpacking_begins(second.virtualenv_dir, "dbt_"),
    }[what]

    with harness.start(victim.task(), variables=victim.variables(), kill_at=kill_at, grace=1.0) as running:
        running.finish()
    sizes = [file.stat().st_size for file in _stored(first.folder)]
    evidence(f"after the kill the files of the folder had {sizes} bytes")

    victim.ran(seconds=IMPATIENT)
    (first if victim is second else second).ran(seconds=IMPATIENT)


def _holds(folder: Path, size: int) -> Point:
    """The point at which a file of the folder has that many bytes."""

    def is_reached() -> bool:
        with suppress(FileNotFoundError):  # a file is gone meanwhile
            return any(file.stat().st_size >= size for file in _stored(folder))
        return False

    return point("putting", is_reached)


@requirement("REMOTE-006")
def test_the_key_is_nowhere_to_be_read(first: Machine, second: Machine) -> None:
    harness, key = first.harness, first.key

    outcomes = [harness.run(each.task(), variables=each.variables()) for each in (first, second)]

    failed = [outcome for outcome in outcomes if not outcome.succeeded]
    assert not failed, f"both tasks must succeed; seen: {failed[0]}"
    own = {each.key_file for each in (first, second)}
    left = [file for file in files_with(key, places(harness)) if file not in own]
    given = [name for call in harness.calls("run") for name, value in call.env.items() if key in value]
    for outcome in outcomes:
        require_hidden(key, "the key", outcome, left)
    assert not given, f"dbt must not get the key; seen: it is in its variable {given[0]}"
