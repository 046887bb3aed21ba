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
VERSIONED = ("voyages", "stg_orders")
FOLDERS = ("", "", "orders", "customers", "staging", "shop", "staging/orders", "stg")
SOURCES = ("raw", "crm.v2", "OMOP CDM", "orders")
TABLES = ("orders", "accounts", "my table", "eu.visits")
TEST_NAMES = ("orders.id_is_in_stg", "orders", "customers.has rows", "positive")
SHARED_TEST_NAME = "check"
SINGULAR = ("orders", "orders.consistency", "check_all", "staging")
SEEDS = ("ports", "orders_seed", "eu.ports")
SNAPSHOTS = ("orders_snapshot", "history")
PACKAGES = ("fleet", "orders", "staging")
WORDS = (
    "orders", "+orders", "orders+", "tag:nightly", "path:models/orders", "test_type:singular", "test_type:generic",
    "resource_type:model", "fqn:shop.staging", "shop",
    "voyages", "package:orders", "config.materialized:view", "stg_orders,tag:nightly", "check", "stg",
)  # fmt: skip
LOADS = (*["dbt_manifest"] * 6, *["dbt_ls"] * 6, *["dbt_ls_file"] * 5)
PROFILE = {"shop": {"target": "dev", "outputs": {"dev": {"type": "duckdb", "path": ":memory:"}}}}


@dataclass(frozen=True, kw_only=True)
class DrawnProject:
    """:param files: the text of each file, by its path in the project.
    :param render: the arguments of RenderConfig.
    :param load: the load mode.
    :param indirect: ``test_indirect_selection``.
    :param listed: the selection with which the file of DBT_LS_FILE is written, as arguments of RenderConfig.
    :param odd: how many there are of what is easily wrong, such as names with a dot.
    """

    files: dict[str, str]
    render: dict[str, Any]
    load: str = "dbt_manifest"
    indirect: str = "eager"
    listed: dict[str, Any] = field(default_factory=dict)
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
    versioned = draw(st.lists(st.sampled_from(VERSIONED), max_size=2, unique=True))
    plain = [each for each in MODELS if each not in versioned]
    models = draw(st.lists(names(plain), min_size=3, max_size=7, unique=True))
    folders = {name: draw(st.sampled_from(FOLDERS)) for name in models}
    sources = draw(st.dictionaries(names(SOURCES), st.lists(names(TABLES), min_size=1, unique=True)))
    yaml_models: list[dict[str, Any]] = []
    for index, name in enumerate(models):
        parents = draw(st.lists(st.sampled_from(models[:index]), max_size=2, unique=True)) if index else []
        files |= _model_file(name, folders[name], parents, draw(CONFIGS))
        yaml_models.append(_described(draw, name, [each for each in models if each != name], names(TEST_NAMES)))
    for name in versioned:
        described, made = _versions(draw, name)
        yaml_models.append(described)
        files |= made
    files["models/schema.yml"] = yaml.safe_dump(
        {
            "version": 2,
            "models": yaml_models,
            "sources": [_source(draw, name, tables) for name, tables in sources.items()],
            "unit_tests": [_unit_test(models[0])] if draw(st.booleans()) and models[0].isidentifier() else [],
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
    left_out: list[str] = []
    if draw(st.booleans()):
        package = draw(st.sampled_from(PACKAGES))
        files |= _package(draw, package, names([*(each for each in plain if each not in models), "arrivals"]))
        if draw(st.booleans()) and versioned:
            described, made = _versions(draw, versioned[0])
            files |= {f"dbt_packages/{package}/{path}": text for path, text in made.items()}
            files[f"dbt_packages/{package}/models/versions.yml"] = yaml.safe_dump({"version": 2, "models": [described]})
            left_out.append(f"package:{package}")  # two models of one name would have tasks of one id
    load = draw(st.sampled_from(LOADS))
    is_listed = load == "dbt_ls_file"  # which is selected when it is written
    selection = draw(_selection(files, left_out, ANY))
    render = draw(_render(BATCHES, with_selection={} if is_listed else selection))
    indirect = "eager" if render["test_behavior"] == "after_all" else draw(st.sampled_from(INDIRECT))
    named = [*models, *sources, *(table for tables in sources.values() for table in tables)]
    odd = {
        "dots": sum("." in name for name in named),
        "spaces": sum(" " in name for name in named),
        "clashes": sum(name in {*folders.values(), PACKAGE} for name in models),
        "versions": sum(f"/{name}_v" in path for name in versioned for path in files),
        "packages": sum(name.endswith("dbt_project.yml") for name in files) - 1,
        "ephemeral": sum("'ephemeral'" in text for text in files.values()),
        "tests of one name": max(0, sum(text.count(f"name: {SHARED_TEST_NAME}\n") for text in files.values()) - 1),
        load: 1,
        f"{indirect} tests": 1,
        "default selector": "default: true" in files.get("selectors.yml", ""),
        "batches": "batch_by" in render,
        render["test_behavior"]: 1,
    }
    return DrawnProject(
        files=files, render=render, load=load, indirect=indirect, listed=selection if is_listed else {}, odd=odd
    )


def _versions(draw: st.DrawFn, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What YAML says of a model with two versions, and its files."""
    described = {"name": name, "latest_version": 2, "versions": [{"v": 1}, {"v": 2}], "columns": [_unique()]}
    folders = [draw(st.sampled_from(("", "staging/", "voyages/"))) for _ in (1, 2)]
    return described, {
        f"models/{folder}{name}_v{version}.sql": "select 1 as id" for version, folder in enumerate(folders, 1)
    }


def _package(draw: st.DrawFn, name: str, left: st.SearchStrategy[str]) -> dict[str, str]:
    """The files of an installed package, whose name may be the name of a folder of the project."""
    root = f"dbt_packages/{name}"
    # Two models of one name would have tasks of one id, which is refused.
    models = draw(st.lists(left, min_size=1, max_size=3, unique=True))
    files = {
        "packages.yml": yaml.safe_dump({"packages": [{"local": root}]}),
        f"{root}/dbt_project.yml": yaml.safe_dump(
            {"name": name, "version": "1.0", "models": {name: {"+schema": name}}}
        ),
    }
    for model in models:
        made = _model_file(model, draw(st.sampled_from(FOLDERS)), [], draw(CONFIGS))
        files |= {f"{root}/{path}": text for path, text in made.items()}
    described: list[dict[str, Any]] = [{"name": model, "columns": [_unique()]} for model in models]
    files[f"{root}/models/schema.yml"] = yaml.safe_dump({"version": 2, "models": described})
    return files


_SNAPSHOT = (
    "{{% snapshot {name} %}}{{{{ config(target_schema='s', unique_key='id', strategy='check', check_cols='all') }}}}"
    "select * from {{{{ ref('{read}') }}}}{{% endsnapshot %}}"
)


def _model_file(name: str, folder: str, parents: list[str], config: str) -> dict[str, str]:
    reads = "".join(
        f" cross join (select 1 from {{{{ ref('{each}') }}}}) as t{index}" for index, each in enumerate(parents)
    )
    return {f"models/{folder + '/' if folder else ''}{name}.sql": f"{config}select 1 as id from (select 1) as o{reads}"}


CONFIGS = st.sampled_from(
    [
        "",
        "",
        "{{ config(tags=['nightly']) }}",
        "{{ config(tags=['nightly']) }}",
        "{{ config(materialized='ephemeral') }}",
    ]
)


def _unique() -> dict[str, Any]:
    return {"name": "id", "data_tests": ["unique"]}


def _described(draw: st.DrawFn, name: str, others: list[str], test_names: st.SearchStrategy[str]) -> dict[str, Any]:
    tests: list[Any] = draw(st.lists(st.sampled_from(["unique", "not_null"]), max_size=2, unique=True))
    shares_name = draw(st.sampled_from(["none", "none", "one model", "two models"]))
    if draw(st.booleans()) or shares_name == "two models":
        named = {"name": SHARED_TEST_NAME} if shares_name == "two models" else {}
        to = f"ref('{draw(st.sampled_from(others))}')"
        tests.append({"relationships": {**named, "arguments": {"to": to, "field": "id"}}})
    if draw(st.booleans()) or shares_name == "one model":
        named = {"name": SHARED_TEST_NAME if shares_name == "one model" else f"{draw(test_names)}_{name}"}
        tests.append({"accepted_values": {**named, "arguments": {"values": [1]}}})
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


LISTS = ("none", "none", "select", "exclude", "both")
ANY = (*LISTS, "selector", "selector", "default", "default", "default")
INDIRECT = ("eager", "eager", "eager", "cautious", "buildable", "empty")
BATCHES = ("none", "none", "none", "folder", "tag", "wave", "chain", "all")


@st.composite
def _render(draw: st.DrawFn, batches: Sequence[str], with_selection: dict[str, Any]) -> dict[str, Any]:
    """The arguments of RenderConfig."""
    batch_by = draw(st.sampled_from(batches))
    is_batched = batch_by != "none"
    behaviors = ["build", "after_all"] if is_batched else ["after_each", "after_each", "build", "build", "after_all"]
    return {
        "test_behavior": draw(st.sampled_from(behaviors)),
        "should_detach_multiple_parents_tests": draw(st.booleans()),
        "source_rendering_behavior": draw(st.sampled_from(["none", "all", "with_tests_or_freshness"])),
        **({"batch_by": batch_by} if is_batched else {}),
        **with_selection,
    }


@st.composite
def _selection(draw: st.DrawFn, files: dict[str, str], left_out: list[str], kinds: Sequence[str]) -> dict[str, Any]:
    """The arguments of RenderConfig that select; a YAML selector is written into the files.

    :param files: of the project.
    :param left_out: what is excluded in any case.
    :param kinds: of selections.
    """

    def words(unless: Sequence[str] = ()) -> st.SearchStrategy[list[str]]:
        left = [each for each in WORDS if each not in unless]
        return st.lists(st.sampled_from(left), min_size=1, max_size=2, unique=True)

    if left_out:
        return {"exclude": left_out}
    kind = draw(st.sampled_from(kinds))
    found: dict[str, Any] = {}
    if kind in ("select", "both"):
        found["select"] = draw(words())
    if kind in ("exclude", "both"):
        found["exclude"] = draw(words(found.get("select", ())))
    if kind in ("selector", "default"):
        values = draw(st.lists(st.sampled_from(["*", "orders", "staging", "customers"]), min_size=1, max_size=2))
        parts: list[Any] = [
            {
                "method": "fqn",
                "value": each,
                "indirect_selection": draw(st.sampled_from(["eager", "cautious", "empty"])),
            }
            for each in values
        ]
        if draw(st.booleans()):
            parts.append(
                {"exclude": [{"method": "test_type", "value": draw(st.sampled_from(["singular", "generic"]))}]}
            )
        selector = {"name": "drawn", "default": kind == "default", "definition": {"union": parts}}
        files["selectors.yml"] = yaml.safe_dump({"selectors": [selector]})
        if kind == "selector":
            found["selector"] = "drawn"
    return found
