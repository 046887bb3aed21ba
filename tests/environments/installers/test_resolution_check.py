"""Pip makes the choice that requirements may leave; where they leave none, uv's answer stands."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import importlib_metadata
import pytest

from cosmos_venv.environments.installers import resolution_check
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from pytest_cosmos_venv import Wheel, write_wheel
from tests.kit import MakeReady


@dataclass(kw_only=True)
class Case:
    """:param offered: ``name version`` -> what it requires; ``!<3.9`` is its Requires-Python.
    :param by: the tool that has installed in the end; ``uv or pip`` where releases of uv differ.
    :param reason: some words of what the log says of it.
    :param files: ``name: content`` of requirements files, in the working directory.
    """

    offered: dict[str, str]
    wanted: tuple[str, ...]
    pins: dict[str, str]
    by: str
    reason: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


CASES = {
    "nothing-to-choose": Case(
        offered={"a 1": "", "a 2": "b<2", "b 1": "", "b 2": ""},
        wanted=("a",),
        pins={"a": "2", "b": "1"},
        by="uv",
    ),
    # The newest goes with nothing. pip may end elsewhere than uv then, and older ones give up.
    "newest-cannot-be-had": Case(
        offered={"a 1": "b", "a 2": "b, c>=9", "b 1": "", "c 1": ""},
        wanted=("a",),
        pins={"a": "1", "b": "1"},
        by="pip",
        reason="uv has taken a 1, where 2 is to be had: the requirements may leave a choice",
    ),
    "one-or-the-other": Case(
        offered={"a 1": "b, c<2", "b 1": "c", "b 2": "c>=2", "c 1": "", "c 2": ""},
        wanted=("a",),
        pins={"a": "1", "b": "1", "c": "1"},
        by="pip",
        reason="uv has taken b 1, where 2 is to be had",
    ),
    "asked-for-and-ruled-out": Case(
        offered={"a 1": "", "a 2": "b<2", "b 1": "", "b 2": ""},
        wanted=("a", "b"),
        pins={"a": "2", "b": "1"},
        by="pip",
        reason="rules out the best b",
    ),
    # An older uv goes back to the first release of a; pip takes the prerelease that the second asks for.
    "prerelease-of-a-dependency": Case(
        offered={"a 1": "b", "a 2": "b>=2a1", "b 1": "", "b 2a1": ""},
        wanted=("a",),
        pins={"a": "2", "b": "2a1"},
        by="uv or pip",
    ),
    "prereleases-wanted": Case(
        offered={"a 1": "b", "a 2": "b>=2a1", "b 1": "", "b 2a1": ""},
        wanted=("a",),
        pins={"a": "2", "b": "2a1"},
        by="uv",
        variables={"PIP_PRE": "1"},
    ),
    "prerelease-named-by-a-constraint": Case(
        offered={"a 1": "", "a 2a1": ""},
        wanted=("a", "-c limits.txt"),
        pins={"a": "2a1"},
        by="uv or pip",
        files={"limits.txt": "a>=1a0"},
    ),
    "prerelease-named-by-the-machine": Case(
        offered={"a 1": "", "a 2a1": ""},
        wanted=("a",),
        pins={"a": "2a1"},
        by="uv or pip",
        variables={"PIP_CONSTRAINT": "limits.txt"},
        files={"limits.txt": "a<2b0"},
    ),
    "prerelease-named-by-a-file-in-a-file": Case(
        offered={"a 1": "b", "b 1": "", "b 2a1": ""},
        wanted=("-r wanted.txt",),
        pins={"a": "1", "b": "2a1"},
        by="uv or pip",
        files={"wanted.txt": "-c limits.txt\na", "limits.txt": "-c more.txt", "more.txt": "b>=1a0"},
    ),
    "for-another-python": Case(
        offered={"a 1": "", "a 2": "!<3.9"},
        wanted=("a",),
        pins={"a": "1"},
        by="pip",
        reason="uv has taken a 2, which is not for this Python",
    ),
    "for-a-later-python": Case(
        offered={"a 1": "", "a 2": "!>=3.99"},
        wanted=("a",),
        pins={"a": "1"},
        by="pip",
        reason="uv has taken a 1, where 2 is to be had",
    ),
    "one-version-of-all": Case(
        offered={"a 1": "b==1", "b 1": "", "b 2": ""}, wanted=("a==1", "b==1"), pins={"a": "1", "b": "1"}, by="uv"
    ),
    "extras": Case(
        offered={"a 1": "b<2 ; extra == 'x', c<2 ; extra == 'y'", "b 1": "", "b 2": "", "c 1": "", "c 2": ""},
        wanted=("a[x]", "c"),
        pins={"a": "1", "b": "1", "c": "2"},
        by="uv",
    ),
}


class _Offered(Wheel):
    @property
    def metadata(self) -> str:
        python = [each[1:] for each in self.requires if each.startswith("!")]
        requires = [each for each in self.requires if not each.startswith("!")]
        lines = ["Metadata-Version: 2.2", f"Name: {self.name}", f"Version: {self.version}"]
        lines += [f"Requires-Dist: {each}" for each in requires] + [f"Requires-Python: {each}" for each in python]
        lines += [f"Provides-Extra: {extra}" for extra in "xy" if f"'{extra}'" in "".join(requires)]
        return "\n".join([*lines, ""])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_pip_decides_where_there_is_a_choice(
    tmp_path: Path, case: Case, make_ready: MakeReady, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = tmp_path / "offered"
    offered.mkdir()
    for each, required in case.offered.items():
        name, version = each.split()
        requires = tuple(part.strip() for part in required.split(",") if part.strip())
        write_wheel(_Offered(name=name, version=version, files={f"{name}.py": ""}, requires=requires), offered)
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.chdir(tmp_path)
    for name, content in case.files.items():
        Path(name).write_text(f"{content}\n")
    for name, value in case.variables.items():
        monkeypatch.setenv(name, value)
    spec = EnvironmentSpec(
        requirements=case.wanted,
        pip_install_options=("--no-index", "--find-links", str(offered)),
        interpreter=Interpreter.of(),
    )
    lines: list[str] = []

    record = make_ready(tmp_path / "store", spec, preference="auto", lines=lines).record

    assert record["pins"] == case.pins
    assert record["installer"]["name"] in case.by.split(" or ")
    assert case.reason in "\n".join(lines)
    assert any("installed with pip" in line for line in lines) is (record["installer"]["name"] == "pip")


def test_a_distribution_that_names_no_python_is_read_by_the_library_that_airflow_brings_too(tmp_path: Path) -> None:
    info = tmp_path / "hello-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hello\nVersion: 1.0\n")
    found: list[Any] = list(importlib_metadata.distributions(path=[str(tmp_path)]))

    assert [each.name for each in found] == ["hello"]
    assert resolution_check._for_other_pythons(found, "3.11.7") == []
