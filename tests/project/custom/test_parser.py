"""A project's files, read without dbt: the nodes are those that dbt makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.custom import parse_project
from cosmos_venv.project.node_entry import DependsOn, NodeEntry

DATA = Path(__file__).resolve().parents[2] / "data"
# Projects of which dbt has written a manifest.
RECORDED = {
    "rendering": (DATA / "rendering-project", DATA / "rendering-project" / "manifest.json"),
    "selection": (DATA / "selection" / "project", DATA / "selection" / "manifest.json"),
}
Write = Callable[[str, str], None]


def parsed(project: Path, **variables: object) -> dict[str, NodeEntry]:
    return parse_project(project, variables=variables, environment={"HARBOR": "north"}, folders={}).entries


def told_by_dbt(manifest: Path) -> dict[str, dict[str, Any]]:
    content = json.loads(manifest.read_text())
    sections = ("nodes", "sources", "exposures", "unit_tests")
    entries = {unique_id: entry for section in sections for unique_id, entry in content[section].items()}
    return {unique_id: entry for unique_id, entry in entries.items() if entry["resource_type"] != "analysis"}


def compared(entry: dict[str, Any]) -> dict[str, Any]:
    config = entry.get("config") or {}
    names = ("resource_type", "package_name", "original_file_path", "fqn", "name", "source_name", "access", "version")
    freshness = {
        key: {part: value for part, value in age.items() if value is not None}
        for key, age in (entry.get("freshness") or {}).items()
        if key != "filter" and age
    }
    return {
        **{name: entry.get(name) for name in (*names, "latest_version")},
        **{name: config.get(name) for name in ("materialized", "group", "schema", "severity")},
        "meta": config.get("meta") or {},
        "tags": sorted(entry.get("tags") or config.get("tags") or []),
        "test": (entry.get("test_metadata") or {}).get("name"),
        "reads": sorted((entry.get("depends_on") or {}).get("nodes") or []),
        "freshness": {key: age for key, age in freshness.items() if age},
    }


def as_mapping(entry: NodeEntry) -> dict[str, Any]:
    told = {name: getattr(entry, name) for name in entry.__struct_fields__}
    metadata = {"name": entry.test_metadata.name} if entry.test_metadata else None
    return {**told, "depends_on": {"nodes": entry.depends_on and entry.depends_on.nodes}, "test_metadata": metadata}


@pytest.mark.parametrize(("project", "manifest"), RECORDED.values(), ids=RECORDED)
def test_the_nodes_of_two_projects_are_those_of_dbts_manifest_ids_and_all(project: Path, manifest: Path) -> None:
    told = told_by_dbt(manifest)

    found = parsed(project)

    assert sorted(found) == sorted(told)
    for unique_id, entry in told.items():
        assert {unique_id: compared(as_mapping(found[unique_id]))} == {unique_id: compared(entry)}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    write("dbt_project.yml", "name: shop\n")
    return write


def reads(entries: dict[str, NodeEntry], name: str) -> list[str]:
    depends_on = entries[f"model.shop.{name}"].depends_on
    assert depends_on is not None
    return [each.removeprefix("model.shop.") for each in depends_on.nodes or []]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select * from {{ ref('a') }}", ["a"]),
        ("select * from {{ ref('shop', 'a') }}", ["a"]),
        ("{{ ref('a' ~ '') }} {{ ref('prefix_' + var('which')) }}", ["a", "prefix_x"]),
        ("{{ ref(var('other', 'a')) }}", ["a"]),
        ("{{ ref(env_var('NAMED_BY', 'a')) }}", ["a"]),
        ("{% if is_incremental() %}{{ ref('a') }}{% endif %}", ["a"]),
        ("{% set these = ['x'] %}{% do these.append(1) %}{{ toolkit.star(from=ref('a')) }}", ["a"]),
        ("-- depends_on: {{ ref('a') }}", ["a"]),
        ("{# {{ ref('a') }} #} select 1", []),
        ("{% raw %}{{ ref('a') }}{% endraw %}", []),
        ("{{ ref('many') }} {{ ref('many', v=1) }} {{ ref('many', version='1') }}", ["many.v2", "many.v1"]),
        ("{{ source('raw', 't') }}", ["source.shop.raw.t"]),
        ("{{ ref('seeded') }} {{ ref('snapped') }}", ["seed.shop.seeded", "snapshot.shop.snapped"]),
    ],
)
def test_what_sql_reads(write: Write, tmp_path: Path, text: str, expected: list[str]) -> None:
    for name in ("a", "prefix_x", "many_v1", "many_v2"):
        write(f"models/{name}.sql", "select 1")
    write(
        "models/models.yaml",
        "models: [{name: many, versions: [{v: 1}, {v: 2}]}]\nsources: [{name: raw, tables: [{name: t}]}]",
    )
    write("seeds/seeded.csv", "id\n")
    write("snapshots/s.sql", "{% snapshot snapped %}{{ config(tags='x') }} select 1{% endsnapshot %}")
    write("models/deep/er/asked.sql", text)

    assert reads(parsed(tmp_path, which="x"), "asked") == expected


def test_columns_are_those_of_the_yaml(write: Write, tmp_path: Path) -> None:
    write("models/a.sql", "select 1")
    write("models/a.yml", "models: [{name: a, columns: [{name: id, description: The key}, {name: note}, 1]}]")

    columns = json.loads(bytes(parsed(tmp_path)["model.shop.a"].columns))

    assert columns == {"id": {"description": "The key"}, "note": {"description": ""}}


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "expression",
    [
        "'a'|center(1500000000)",
        "'%1500000000d' % 1",
        "[1]|batch(90000000,'x')|list",
        "'a'.center(1500000000)",
        "lipsum(n=100000000)",
        "range(10**9)|list",
        "'a' * 10**9",
        "9**9**9",
        f"{'[' * 60}'{chr(92) * 2}'{' ~ 1]' * 60}",
    ],
)
@pytest.mark.parametrize("file", ["models/a.sql", "models/a.yml", "dbt_project.yml"])
def test_a_value_that_is_longer_than_its_text_is_known_to_dbt_alone(
    write: Write, tmp_path: Path, file: str, expression: str
) -> None:
    as_yaml = json.dumps(f"{{{{ {expression} }}}}")
    write("models/a.sql", "select 1")
    write(
        file,
        {
            "models/a.sql": f"{{{{ config(materialized={expression}) }}}} {{{{ ref({expression}) }}}} select 1",
            "models/a.yml": f"models: [{{name: a, config: {{materialized: {as_yaml}}}}}]",
            "dbt_project.yml": f"name: shop\nmodels: {{shop: {{+materialized: {as_yaml}}}}}\n",
        }[file],
    )

    (entry,) = parsed(tmp_path).values()

    assert (entry.config or {})["materialized"] == "view"
    assert (entry.depends_on and entry.depends_on.nodes) == []


@pytest.mark.timeout(20)
def test_a_macro_that_calls_itself_twice_is_not_run(write: Write, tmp_path: Path) -> None:
    macro = "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(60) }}"
    write("models/a.sql", "select 1")
    write("models/a.yml", f'models: [{{name: a, config: {{enabled: "{macro}"}}}}]')

    assert list(parsed(tmp_path)) == ["model.shop.a"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("var('kind')", "table"),
        ("var('kinds').nightly", "incremental"),
        ("var('kinds')['other'][0]", "ephemeral"),
        ("var('gone', default='table')", "table"),
        ("'table' if var('on') and env_var('HARBOR') == 'north' else 'view'", "table"),
        ("'table' if not var('on') or var('kind') not in ['table'] else 'ephemeral'", "ephemeral"),
        ("var('kind') | upper | lower", "table"),
        ("'in' ~ 'cremental'", "incremental"),
        ("'table' if 1 < 2 <= 2 < -1 else 'ephemeral'", "ephemeral"),
        ("'table' if target.name == 'prod' else 'ephemeral'", "view"),
        ("var('kinds').gone", "view"),
        ("var('gone')", "view"),
        ("var(*['kind'])", "view"),
        ("var('kinds') ~ ''", "view"),
    ],
)
@pytest.mark.parametrize("is_sql", [True, False])
def test_values_that_need_no_dbt(write: Write, tmp_path: Path, expression: str, expected: str, is_sql: bool) -> None:
    write("models/a.sql", f"{{{{ config(materialized={expression}) }}}} select 1" if is_sql else "select 1")
    if not is_sql:
        write("models/a.yml", f'models: [{{name: a, config: {{materialized: "{{{{ {expression} }}}}"}}}}]')

    found = parsed(tmp_path, kind="table", kinds={"nightly": "incremental", "other": ["ephemeral"]}, on=True)

    assert (found["model.shop.a"].config or {})["materialized"] == expected


@pytest.mark.timeout(20)
def test_a_long_variable_is_not_looked_up_again_and_again(write: Write, tmp_path: Path) -> None:
    options = ", ".join(f"o{number}: \"{{{{ var('long') }}}}\"" for number in range(50))
    write("models/a.sql", "select 1")
    write("models/a.yml", f"models: [{{name: a, config: {{{options}}}}}]")

    assert len(parsed(tmp_path, long="x" * 100_000)) == 1
    with pytest.raises(
        CosmosLoadDbtException, match=r"var\(\) and env_var\(\) .* more than 8,000,000 characters\. Load"
    ):
        parsed(tmp_path, long="x" * 200_000)


@pytest.mark.timeout(20)
def test_folders_with_millions_of_paths_through_links_are_refused(write: Write, tmp_path: Path) -> None:
    write("models/a.sql", "select 1")
    for number in range(24):
        folder = tmp_path / f"d{number}"
        folder.mkdir()
        for name in "ab":
            (folder / name).symlink_to(f"../d{number + 1}")
    (tmp_path / "models" / "link").symlink_to("../d0")

    with pytest.raises(
        CosmosLoadDbtException, match=r"models is not read: more than 20,000 folders or .* Remove links"
    ):
        parsed(tmp_path)


@pytest.mark.timeout(20)
def test_a_snapshot_ends_with_the_first_end_whatever_stands_between(write: Write, tmp_path: Path) -> None:
    write("models/a.sql", "select 1")
    write(
        "snapshots/s.sql",
        "{% endsnapshot %}{% snapshot one %}{{ ref('a') }}{% endsnapshot %}{%- snapshot two -%}{%- endsnapshot -%}"
        + "{% snapshot open %}" * 200_000,
    )

    found = [entry.name for entry in parsed(tmp_path).values() if entry.resource_type == "snapshot"]

    assert found == ["one", "two"]


def test_what_python_reads(write: Write, tmp_path: Path) -> None:
    write("models/a.sql", "select 1")
    write("models/s.yml", "sources: [{name: raw, tables: [{name: t}]}]")
    write(
        "models/p.py",
        "def model(dbt, session):\n    dbt.config(materialized='table', tags=['x'])\n    other.ref('b')\n"
        "    return dbt.ref('a').union(dbt.source('raw', 't'))\n\ndef elsewhere(dbt):\n    dbt.ref('c')\n",
    )

    entries = parsed(tmp_path)

    assert sorted(reads(entries, "p")) == ["a", "source.shop.raw.t"]
    assert entries["model.shop.p"].tags == ["x"]
    assert (entries["model.shop.p"].config or {})["materialized"] == "table"


def test_a_call_in_python_with_a_mapping_that_cannot_be_is_said(
    write: Write, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    write("models/p.py", "def model(dbt, session):\n    dbt.config(x={[]: 1})\n")

    assert list(parsed(tmp_path)) == ["model.shop.p"]
    assert "p.py: what config() in line 2 names is known to dbt only" in log.text


def test_what_is_nearer_to_a_model_configures_it(write: Write, tmp_path: Path) -> None:
    write(
        "dbt_project.yml",
        "name: shop\nmodels:\n  +tags: all\n  shop:\n    +meta: {a: 1, b: 1}\n"
        '    staging: {materialized: "{{ var(\'kind\') }}", +tags: [staging], +schema: "{{ target.name }}"}\n',
    )
    write("models/staging/a.sql", "{{ config(tags=['own'], meta={'b': 2}, materialized=target.name) }} select 1")
    write("models/staging/b.sql", "select 1")
    write("models/models.yml", "models: [{name: a, config: {tags: told, meta: {c: 3}}}, {name: b, meta: {d: 4}}]")

    entries = parsed(tmp_path, kind="table")
    a, b = (entries[f"model.shop.{name}"] for name in "ab")

    assert a.tags == ["all", "staging", "told", "own"]
    assert b.config == {
        "enabled": True,
        "materialized": "table",
        "tags": ["all", "staging"],
        "meta": {"a": 1, "b": 1, "d": 4},
    }
    assert (a.config or {})["meta"] == {"a": 1, "b": 2, "c": 3}
    assert (a.config or {})["materialized"] == "table"


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ("{}", "{{ config(enabled=false) }} select 1"),
        ("{}", "{{ config(enabled=var('on')) }} select 1"),
        ("{+enabled: false}", "select 1"),
        ("{+enabled: \"{{ var('on') }}\"}", "select 1"),
    ],
)
def test_what_is_disabled_is_left_out_with_its_tests(write: Write, tmp_path: Path, config: str, text: str) -> None:
    write("dbt_project.yml", f"name: shop\nmodels: {{shop: {{sub: {config}}}}}\n")
    write("models/sub/a.sql", text)
    write("models/b.sql", "{{ ref('a') }}")
    write("models/m.yml", "models: [{name: a, columns: [{name: id, tests: [unique]}]}]")

    assert list(parsed(tmp_path, on=False)) == ["model.shop.b"]


@pytest.mark.parametrize("key", ["tests", "data_tests"])
def test_tests_are_found_however_they_are_written(write: Write, tmp_path: Path, key: str) -> None:
    write("models/a.sql", "select 1")
    write("models/b.sql", "select 1")
    write(
        "models/m.yaml",
        f"""models:
  - name: a
    {key}: [toolkit.is_small, {{name: own, test_name: is_big}}]
    columns:
      - name: id
        {key}: [unique, {{not_null: {{config: {{tags: [slow]}}}}}}, {{relationships: {{to: ref('b'), field: id}}}}]
""",
    )

    tests = {unique_id: entry for unique_id, entry in parsed(tmp_path).items() if entry.resource_type == "test"}

    by_name = {entry.name: (entry.depends_on and entry.depends_on.nodes) for entry in tests.values()}
    assert by_name == {
        "is_small_a_": ["model.shop.a"],
        "own": ["model.shop.a"],
        "unique_a_id": ["model.shop.a"],
        "not_null_a_id": ["model.shop.a"],
        "relationships_a_id__id__ref_b_": ["model.shop.a", "model.shop.b"],
    }
    assert [entry.name for entry in tests.values() if entry.tags] == ["not_null_a_id"]


def test_what_a_reference_names_that_is_not_there_is_said(
    write: Write, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    write("models/a.sql", "{{ ref('gone') }}\n{{ ref(this.name) }}")

    assert reads(parsed(tmp_path), "a") == []
    assert "a.sql: ref('gone') names nothing" in log.text
    assert "a.sql: what ref() in line 2 names is known to dbt only" in log.text


def test_an_option_that_only_dbt_knows_is_said(write: Write, tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    write("models/a.sql", "select 1\n{{ config(enabled=target.name == 'prod', pre_hook=this.x()) }}")

    assert list(parsed(tmp_path)) == ["model.shop.a"]
    assert "a.sql: what config(enabled=…) in line 2 names is known to dbt only" in log.text
    assert "pre_hook" not in log.text


def test_a_source_is_looked_for_at_home_then_in_the_project_then_in_packages(
    write: Write, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    declared = "sources: [{name: raw, tables: [{name: %s}, {name: both}]}]\n"
    text = "{{ source('raw', 'both') }} {{ source('raw', 'own') }} {{ source('raw', 'theirs') }}"
    write("models/s.yml", declared % "own")
    write("models/a.sql", text)
    write("dbt_packages/kit/dbt_project.yml", "name: kit\n")
    write("dbt_packages/kit/models/s.yml", declared % "theirs")
    write("dbt_packages/kit/models/b.sql", text + "{{ source('raw', 'gone') }}")

    entries = parsed(tmp_path)

    others = ["source.shop.raw.own", "source.kit.raw.theirs"]
    assert reads(entries, "a") == ["source.shop.raw.both", *others]
    assert entries["model.kit.b"].depends_on == DependsOn(nodes=["source.kit.raw.both", *others])
    assert "b.sql: source('raw', 'gone') names nothing" in log.text


def test_two_files_of_one_node_are_refused_unless_one_is_disabled(write: Write, tmp_path: Path) -> None:
    write("models/x/a.sql", "select 1")
    write("models/y/a.sql", "select 2")
    with pytest.raises(CosmosLoadDbtException, match=r"x/a\.sql and .*y/a\.sql both make model\.shop\.a"):
        parsed(tmp_path)

    write("models/y/a.sql", "{{ config(enabled=false) }}")
    assert list(parsed(tmp_path)) == ["model.shop.a"]


def test_folders_of_the_configuration_are_not_those_of_packages(write: Write, tmp_path: Path) -> None:
    write("given/b.sql", "select 1")
    write("dbt_packages/kit/dbt_project.yml", "name: kit\n")
    write("dbt_packages/kit/models/c.sql", "select 1")

    found = parse_project(tmp_path, variables={}, environment={}, folders={"models": "given"}).entries

    assert list(found) == ["model.shop.b", "model.kit.c"]


def test_folders_are_those_of_dbt_project_or_else_of_the_configuration(write: Write, tmp_path: Path) -> None:
    write("sql/a.sql", "select 1")
    write("given/b.sql", "select 1")

    with_folder = parse_project(tmp_path, variables={}, environment={}, folders={"models": "given"}).entries
    write("dbt_project.yml", "name: shop\nmodel-paths: [sql]\n")

    assert list(with_folder) == ["model.shop.b"]
    assert list(parsed(tmp_path)) == ["model.shop.a"]


def test_values_are_those_that_dbt_writes_into_a_manifest(write: Write, tmp_path: Path) -> None:
    """Dates are texts, and so are keys. Compared with what dbt 1.10 and 1.11 write of these files."""
    write("models/a.sql", "{{ config(meta={'keys': {2: 'x', none: 1, 1.5: 2, true: 3}, 'several': (1, 2)}) }} select 1")
    write("models/b.sql", "select 1")
    write(
        "models/b.yml",
        "models: [{name: b, config: {meta: {day: 2024-01-01, at: 2024-01-01 10:00:00, z: 2024-01-01T10:00:00Z, "
        "in: {7: seven}}}}]",
    )

    entries = parsed(tmp_path)

    assert [(entries[f"model.shop.{name}"].config or {})["meta"] for name in "ab"] == [
        {"keys": {"2": "x", "null": 1, "1.5": 2, "true": 3}, "several": [1, 2]},
        {
            "day": "2024-01-01",
            "at": "2024-01-01T10:00:00",
            "z": "2024-01-01T10:00:00+00:00",
            "in": {"7": "seven"},
        },
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (".nan", r"hold: .*not JSON compliant.*\. Write texts, numbers, lists and mappings"),
        ("!!set {y}", r"hold: \{'y'\} is a set\."),
        ("{2024-05-05: y}", r"hold: keys must be .* not .*date"),
    ],
)
def test_a_value_that_dbt_writes_into_no_manifest_is_refused(
    write: Write, tmp_path: Path, value: str, words: str
) -> None:
    write("models/a.sql", "select 1")
    write("models/b.yml", f"models: [{{name: a, config: {{meta: {{x: {value}}}}}}}]")

    with pytest.raises(CosmosLoadDbtException, match=rf"models/a\.sql: the configuration of model a has .* {words}"):
        parsed(tmp_path)


def test_a_folder_anywhere_may_be_named_by_its_whole_path(
    write: Write, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """dbt has it so: the file's path is then whole in a manifest, too."""
    beside = tmp_path_factory.mktemp("beside")
    (beside / "a.sql").write_text("select 1")
    write("models/b.sql", "select 1")
    write("dbt_project.yml", f"name: shop\nmodel-paths: ['{beside}', models]\n")

    paths = {name: entry.original_file_path for name, entry in parsed(tmp_path).items()}

    assert paths == {"model.shop.a": str(beside / "a.sql"), "model.shop.b": "models/b.sql"}


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("models/a.sql", "select\n{{ ref('a' }}", r"models/a\.sql, line 2: unexpected '}'"),
        ("models/a.py", "def model(dbt, session)\n", r"models/a\.py, line 1: no Python"),
        ("models/a.yml", "models: [", r"models/a\.yml cannot be read as YAML"),
        ("models/a.yml", "- a\n", r"models/a\.yml holds a list, no mapping"),
        ("models/a.yml", "models: {name: a}\n", r"models/a\.yml: models is .* Write a list"),
        ("models/a.yml", "models: [{name: a, tests: [3]}]\n", r"models/a\.yml: a has the test 3\. Write its name"),
        (
            "models/a.yml",
            "models: [{name: a, tests: unique}]\n",
            r"models/a\.yml: tests of a is 'unique'\. Write a list",
        ),
        (
            "models/a.yml",
            "models: [{name: a, columns: [{name: id, data_tests: {unique: {}}}]}]\n",
            r"models/a\.yml: data_tests of a\.id is .*Write a list",
        ),
        (
            "models/a.yml",
            "models: [{name: a, versions: [{v: 1, tests: unique}]}]\n",
            r"models/a\.yml: tests of a_v1 is 'unique'\. Write a list",
        ),
        ("models/a.yml", "models: [{name: a, versions: 5}]", r"models/a\.yml: versions of a is 5\. Write a list"),
        ("models/a.yml", "models: [{name: a, columns: id}]", r"models/a\.yml: columns of a is 'id'\. Write a list"),
        ("models/a.yml", "models: [{name: a, config: 5}]", r"models/a\.yml: config of a is 5\. Write a mapping"),
        (
            "models/a.yml",
            "models: [{name: a, versions: [{v: 1, config: 5}]}]",
            r"models/a\.yml: config of a\.1 is 5\. Write a mapping",
        ),
        ("models/a.yml", "sources: [{name: s, tables: 5}]", r"models/a\.yml: tables of s is 5\. Write a list"),
        (
            "models/a.yml",
            "sources: [{name: s, tables: [{name: t, meta: 5}]}]",
            r"models/a\.yml: meta of s\.t is 5\. Write a mapping",
        ),
        (
            "models/a.yml",
            "models: [{name: a, data_tests: [{unique: {config: 5}}]}]",
            r"models/a\.yml: config of the test unique of a is 5\. Write a mapping",
        ),
        (
            "models/a.yml",
            "models: [{name: a, data_tests: [{unique: {5: 6, a: 1}}]}]",
            r"models/a\.yml: a has the test .* Write its name, or its name: arguments",
        ),
        (
            "models/a.sql",
            "\n{{ function('tax')(b) }}",
            r"models/a\.sql, line 2: function\(\) names what nobody reads .* dbt ls or manifest",
        ),
        ("models/a.sql", "select 1\n{{ ref('a' + 1) }}", r"models/a\.sql, line 2: ref\(\): .*concatenate.* Correct it"),
        ("models/a.sql", "{{ config(schema=1 + 'a') }}", r"models/a\.sql, line 1: config\(\): unsupported operand"),
        ("models/a.sql", "{{ ref(env_var()) }}", r"models/a\.sql, line 1: ref\(\): .*missing 1 required"),
        ("models/a.sql", "{{ source('a', var([])) }}", r"models/a\.sql, line 1: source\(\): unhashable"),
        ("models/a.sql", "\n{% foo %}", r"models/a\.sql, line 2: Encountered unknown tag 'foo'\. Correct it"),
        ("models/a.sql", f"select {{{{ {'9' * 5_000} }}}}", r"models/a\.sql: Exceeds the limit .* digits.* Correct it"),
        ("models/a.sql", f"{{{{ ref({' + '.join(['1'] * 5_000)}) }}}}", r"models/a\.sql: it is nested too deeply\. "),
        ("models/a.sql", "\xff", None),
        ("dbt_project.yml", "version: 1\n", r"dbt_project\.yml says no name"),
        ("README.md", "nothing else", r"The files of the dbt project .* make no node"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(
    write: Write, tmp_path: Path, file: str, text: str, words: str | None
) -> None:
    write(file, text)
    if words is None:
        (tmp_path / file).write_bytes(text.encode("latin-1"))
        words = r"models/a\.sql cannot be read: .*utf-8"

    with pytest.raises(CosmosLoadDbtException, match=words):
        parsed(tmp_path)


def test_no_project_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CosmosLoadDbtException, match=r"dbt_project\.yml cannot be read: No such file"):
        parsed(tmp_path)
