"""Small dbt projects that Hypothesis draws, with names at which a selection is easily wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

PACKAGE = "shop"
MODELS = ("orders", "customers", "shop", "staging", "orders_v2", "orders.daily", "my model", "stg_orders")
FOLDERS = ("", "", "orders", "customers", "staging", "shop", "staging/orders")
SOURCES = ("raw", "crm.v2", "OMOP CDM", "orders")
TABLES = ("orders", "accounts", "my table", "eu.visits")
TEST_NAMES = ("orders.id_is_in_stg", "orders", "customers.has rows", "positive")
SINGULAR = ("orders", "orders.consistency", "check_all", "staging")
SEEDS = ("ports", "orders_seed", "eu.ports")
SNAPSHOTS = ("orders_snapshot", "history")
PACKAGES = ("fleet", "orders", "staging")
WORDS = (
    "orders", "+orders", "orders+", "tag:nightly", "path:models/orders", "test_type:singular", "test_type:generic",
    "resource_type:model", "fqn:shop.staging", "shop",
    "voyages", "package:orders", "config.materialized:view", "stg_orders,tag:nightly",
)  # fmt: skip
PROFILE = {"shop": {"target": "dev", "outputs": {"dev": {"type": "duckdb", "path": ":memory:"}}}}


@dataclass(frozen=True, kw_only=True)
class DrawnProject:
    """:param files: the text of each file, by its path in the project.
    :param render: the arguments of RenderConfig.
    :param odd: the number of names with a dot, of names with a space, of models with the name of a folder, of versions
        of models, and of packages.
    """

    files: dict[str, str]
    render: dict[str, Any]
    odd: dict[str, int] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


@st.composite
def drawn_projects(draw: st.DrawFn, *, with_spaces: bool = True) -> DrawnProject:
    """A project of some models, sources, seeds, snapshots and tests, and a selection of them.

    :param with_spaces: whether names may have spaces, which dbt 2 refuses.
    """

    def names(of: Sequence[str]) -> st.SearchStrategy[str]:
        return st.sampled_from([each for each in of if with_spaces or " " not in each])

    files = {
        "dbt_project.yml": yaml.safe_dump(
            {
                "name": PACKAGE,
                "version": "1.0",
                "profile": "shop",
                "flags": {"send_anonymous_usage_stats": False, "require_resource_names_without_spaces": False},
            }
        ),
        "profiles.yml": yaml.safe_dump(PROFILE),
    }
    models = draw(st.lists(names(MODELS), min_size=3, max_size=7, unique=True))
    folders = {name: draw(st.sampled_from(FOLDERS)) for name in models}
    sources = draw(st.dictionaries(names(SOURCES), st.lists(names(TABLES), min_size=1, unique=True)))
    yaml_models: list[dict[str, Any]] = []
    for index, name in enumerate(models):
        parents = draw(st.lists(st.sampled_from(models[:index]), max_size=2, unique=True)) if index else []
        files |= _model_file(name, folders[name], parents, tagged=draw(st.booleans()))
        yaml_models.append(_described(draw, name, [each for each in models if each != name], names(TEST_NAMES)))
    if draw(st.booleans()):
        yaml_models.append(
            {"name": "voyages", "latest_version": 2, "versions": [{"v": 1}, {"v": 2}], "columns": [_unique()]}
        )
        for version in (1, 2):
            folder = draw(st.sampled_from(("", "staging/", "voyages/")))
            files[f"models/{folder}voyages_v{version}.sql"] = "select 1 as id"
    files["models/schema.yml"] = yaml.safe_dump(
        {
            "version": 2,
            "models": yaml_models,
            "sources": [_source(draw, name, tables) for name, tables in sources.items()],
            "unit_tests": [_unit_test(models[0])] if draw(st.booleans()) and "." not in models[0] else [],
        }
    )
    for name in draw(st.lists(st.sampled_from(SINGULAR), max_size=2, unique=True)):
        read = draw(st.lists(st.sampled_from(models), min_size=1, max_size=2, unique=True))
        files[f"tests/{name}.sql"] = " union all ".join(f"select * from {{{{ ref('{each}') }}}}" for each in read)
    for name in draw(st.lists(st.sampled_from(SEEDS), max_size=2, unique=True)):
        files[f"seeds/{name}.csv"] = "id\n1\n"
    for name in draw(st.lists(st.sampled_from(SNAPSHOTS), max_size=1)):
        files[f"snapshots/{draw(st.sampled_from(('', 'orders/')))}{name}.sql"] = _SNAPSHOT.format(
            name=name, read=models[0]
        )
    if draw(st.booleans()):
        files |= _package(draw, names([*(each for each in MODELS if each not in models), "arrivals"]))
    render = draw(_render(files))
    named = [*models, *sources, *(table for tables in sources.values() for table in tables)]
    odd = {
        "dots": sum("." in name for name in named),
        "spaces": sum(" " in name for name in named),
        "clashes": sum(name in {*folders.values(), PACKAGE} for name in models),
        "versions": sum("/voyages_v" in name for name in files),
        "packages": sum(name.endswith("dbt_project.yml") for name in files) - 1,
    }
    return DrawnProject(files=files, render=render, odd=odd)


def _package(draw: st.DrawFn, left: st.SearchStrategy[str]) -> dict[str, str]:
    """The files of an installed package, whose name may be the name of a folder of the project."""
    name = draw(st.sampled_from(PACKAGES))
    root = f"dbt_packages/{name}"
    # Two models of one name would have tasks of one id, which is refused.
    models = draw(st.lists(left, min_size=1, max_size=3, unique=True))
    files = {
        "packages.yml": yaml.safe_dump({"packages": [{"local": root}]}),
        f"{root}/dbt_project.yml": yaml.safe_dump({"name": name, "version": "1.0"}),
    }
    for model in models:
        made = _model_file(model, draw(st.sampled_from(FOLDERS)), [], tagged=draw(st.booleans()))
        files |= {f"{root}/{path}": text for path, text in made.items()}
    described: list[dict[str, Any]] = [{"name": model, "columns": [_unique()]} for model in models]
    files[f"{root}/models/schema.yml"] = yaml.safe_dump({"version": 2, "models": described})
    return files


_SNAPSHOT = (
    "{{% snapshot {name} %}}{{{{ config(target_schema='s', unique_key='id', strategy='check', check_cols='all') }}}}"
    "select * from {{{{ ref('{read}') }}}}{{% endsnapshot %}}"
)


def _model_file(name: str, folder: str, parents: list[str], *, tagged: bool) -> dict[str, str]:
    tags = "{{ config(tags=['nightly']) }}" if tagged else ""
    reads = "".join(
        f" cross join (select 1 from {{{{ ref('{each}') }}}}) as t{index}" for index, each in enumerate(parents)
    )
    return {f"models/{folder + '/' if folder else ''}{name}.sql": f"{tags}select 1 as id from (select 1) as o{reads}"}


def _unique() -> dict[str, Any]:
    return {"name": "id", "data_tests": ["unique"]}


def _described(draw: st.DrawFn, name: str, others: list[str], test_names: st.SearchStrategy[str]) -> dict[str, Any]:
    tests: list[Any] = draw(st.lists(st.sampled_from(["unique", "not_null"]), max_size=2, unique=True))
    if draw(st.booleans()):
        tests.append({"relationships": {"arguments": {"to": f"ref('{draw(st.sampled_from(others))}')", "field": "id"}}})
    if draw(st.booleans()):
        tests.append({"accepted_values": {"name": f"{draw(test_names)}_{name}", "arguments": {"values": [1]}}})
    return {"name": name, "columns": [{"name": "id", "data_tests": tests}]}


def _source(draw: st.DrawFn, name: str, tables: list[str]) -> dict[str, Any]:
    fresh = {"config": {"loaded_at_field": "at", "freshness": {"warn_after": {"count": 1, "period": "day"}}}}
    return {
        "name": name,
        **(fresh if draw(st.booleans()) else {}),
        "tables": [{"name": table, "columns": [_unique()] if draw(st.booleans()) else []} for table in tables],
    }


def _unit_test(model: str) -> dict[str, Any]:
    return {"name": "gives_one", "model": model, "given": [], "expect": {"rows": [{"id": 1}]}}


@st.composite
def _render(draw: st.DrawFn, files: dict[str, str]) -> dict[str, Any]:
    """The arguments of RenderConfig; a YAML selector is written into the files."""

    def words(left_out: Sequence[str] = ()) -> st.SearchStrategy[list[str]]:
        left = [each for each in WORDS if each not in left_out]
        return st.lists(st.sampled_from(left), min_size=1, max_size=2, unique=True)

    render: dict[str, Any] = {
        "test_behavior": draw(st.sampled_from(["after_each", "build"])),
        "should_detach_multiple_parents_tests": draw(st.booleans()),
        "source_rendering_behavior": draw(st.sampled_from(["none", "all", "with_tests_or_freshness"])),
    }
    kind = draw(st.sampled_from(["none", "none", "select", "exclude", "both", "selector"]))
    if kind in ("select", "both"):
        render["select"] = draw(words())
    if kind in ("exclude", "both"):
        render["exclude"] = draw(words(render.get("select", ())))
    if kind == "selector":
        parts: list[Any] = [
            {
                "method": "fqn",
                "value": value,
                "indirect_selection": draw(st.sampled_from(["eager", "cautious", "empty"])),
            }
            for value in draw(
                st.lists(st.sampled_from(["*", "orders", "staging", "customers"]), min_size=1, max_size=2)
            )
        ]
        if draw(st.booleans()):
            parts.append(
                {"exclude": [{"method": "test_type", "value": draw(st.sampled_from(["singular", "generic"]))}]}
            )
        files["selectors.yml"] = yaml.safe_dump({"selectors": [{"name": "drawn", "definition": {"union": parts}}]})
        render["selector"] = "drawn"
    return render
