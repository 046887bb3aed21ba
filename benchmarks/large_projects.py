"""The large dbt projects that benchmarks load: the same ones each time, with manifests as dbt writes them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT
from pytest_cosmos_venv.projects.profile import make_profile
from pytest_cosmos_venv.projects.project import DbtProject, make_project

TAG = "t"
_MODELS_OF_A_TAG = 20
_PARENTS = 3
# The parents of a model are among so many models before it, as projects grow in layers. Cosmos then takes 10 s for `@x`
# of 5,000 models. With parents among all models before it takes 2 s, with parents among the last hundred 50 s.
_NEAR = 1_500
_SUBJECTS = ("billing", "crew", "finance", "fleet", "freight", "harbor", "marketing", "passengers", "safety", "weather")
_SENTENCE = "What came in during the day, cleaned of what was sent twice, as agreed with the people of that desk. "
_COLUMNS = 10
_LINES = 53
_OF_DBT = ROOT / "tests" / "data" / "recordings" / "1.11" / "004-build" / "artifacts" / "manifest.json"
_OF_A_BUILD = ("compiled", "compiled_code", "compiled_path", "extra_ctes", "extra_ctes_injected", "raw_code")


@dataclass(frozen=True, kw_only=True)
class LargeProject:
    """The part of a project that loading looks at.

    :param models: how many it has.
    :param some_model: name of a model that nearly all others come after.
    """

    name: str
    folder: Path
    manifest: Path
    models: int

    @property
    def some_model(self) -> str:
        return _model(self.models // _MODELS_OF_A_TAG)

    @property
    def megabytes(self) -> float:
        return self.manifest.stat().st_size / 1e6


def with_two_tests(folder: Path, models: int, *, has_files: bool = False) -> LargeProject:
    """A project of ``models`` models with two tests each and three near parents; every twentieth has the tag ``t``.

    :param folder: an existing one, in which the project's is made.
    :param has_files: whether the models lie on the disk too.
    """
    project = _empty(folder, f"large_{models}", has_files)
    _add_models(project, models, tests=2 * models)
    return _written(project, models, lambda data: data)


def as_in_real_life(folder: Path, *, models: int = 740, seeds: int = 130, tests: int = 1070) -> LargeProject:
    """The shape of a project that is at work somewhere: described, compiled, with columns, 15 MB of text."""
    project = _empty(folder, "real", False)
    for number in range(seeds):
        project.seed(f"seed_{number:05}", "id\n1\n")
    _add_models(project, models, tests=tests)
    return _written(project, models, _as_compiled)


def _empty(folder: Path, name: str, has_files: bool) -> DbtProject:
    path = folder / name
    return make_project(name, path, profile=make_profile(name, path, None), is_on_disk=has_files)


def _add_models(project: DbtProject, models: int, *, tests: int) -> None:
    """:param tests: between one and two for each model."""
    chosen = random.Random(models)  # noqa: S311 - not for secrets: equal numbers each time
    for number in range(models):
        parents = sorted(chosen.sample(range(max(0, number - _NEAR), number), min(_PARENTS, number)))
        reads = " natural join ".join(f"{{{{ ref('{_model(parent)}') }}}}" for parent in parents)
        project.model(
            f"{_SUBJECTS[number % len(_SUBJECTS)]}/{_model(number)}",
            f"select * from {reads}\n" if parents else "select 1 as id\n",  # noqa: S608 - made of names from here
            tests={"id": ["not_null", "unique"] if number < tests - models else ["not_null"]},
            tags=[TAG] if number % _MODELS_OF_A_TAG == 0 else ["daily"],
        )


def _written(project: DbtProject, models: int, change: Callable[[dict[str, Any]], dict[str, Any]]) -> LargeProject:
    data = change(_as_dbt_writes(project.manifest_data()))
    path = project.path / "target" / "manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(data), encoding="utf-8")
    return LargeProject(name=project.name, folder=project.path, manifest=path, models=models)


def _as_dbt_writes(data: dict[str, Any]) -> dict[str, Any]:
    """The manifest with the further keys that dbt 1.11 writes for each node; the toolkit's manifest leaves them out."""
    recorded = json.loads(_OF_DBT.read_text(encoding="utf-8"))["nodes"].values()
    whole = {entry["resource_type"]: entry for entry in recorded}
    for unique_id, entry in data["nodes"].items():
        further = {name: value for name, value in whole[entry["resource_type"]].items() if name not in _OF_A_BUILD}
        data["nodes"][unique_id] = {**further, **entry, "config": {**further["config"], **entry["config"]}}
    return data


def _as_compiled(data: dict[str, Any]) -> dict[str, Any]:
    """The manifest with the further parts of a compiled and documented project: columns, descriptions and code."""
    for entry in data["nodes"].values():
        if entry["resource_type"] == "model":
            column = entry["columns"]["id"]
            names = [f"column_{number}" for number in range(_COLUMNS)]
            entry["columns"] |= {name: {**column, "name": name, "description": _SENTENCE} for name in names}
            entry["description"] = _SENTENCE * 2
        if entry["resource_type"] != "seed":
            lines = "".join(f"    , raw.column_{number} as column_{number}\n" for number in range(_LINES))
            code = entry.get("raw_code", "") + lines  # a generic test has none in the toolkit's manifest
            entry |= {"raw_code": code, "compiled": True, "compiled_code": code + lines, "extra_ctes": []}
    return data


def _model(number: int) -> str:
    return f"model_{number:05}"
