"""The answer of ``dbt ls`` is kept while nothing that matters has changed, and asked for once by many processes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.constants import LoadMode
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from tests.project.ls_place import DEADLINE, NODES, SAY, Place, loading, until
from tests.waiting import wait_until


def test_an_unchanged_project_needs_no_dbt(place: Place) -> None:
    first = place.load()
    second = place.load()

    assert place.calls == 1
    assert (first.load_method, second.load_method) == (LoadMode.DBT_LS, LoadMode.DBT_LS_CACHE)
    assert second.nodes == first.nodes
    assert second.tests_per_model == first.tests_per_model


CHANGES: dict[str, Callable[[Place, pytest.MonkeyPatch], object]] = {
    "a model": lambda place, _: place.write("models/ports.sql", "select 2"),
    "a file more": lambda place, _: place.write("models/deep/more.sql", "select 3"),
    "a file less": lambda place, _: (place.project / "models" / "ports.sql").unlink(),
    "a file elsewhere": lambda place, _: (place.project / "models" / "ports.sql").rename(
        place.project / "models" / "piers.sql"
    ),
    "a model in a folder called logs": lambda place, _: place.write("models/logs/more.sql", "select 3"),
    "a seed more": lambda place, _: place.write("seeds/more.csv", "id\n"),
    "a description": lambda place, _: place.write("models/berths.md", "{% docs berth %}x{% enddocs %}"),
    "the profile": lambda place, _: (place.project / "profiles.yml").open("a").write("# other\n"),
    "dbt": lambda place, _: os.utime(place.dbt, (1, 1)),
    "a variable of dbt": lambda _, env: env.setenv("DBT_FULL_REFRESH", "1"),
}


UNIMPORTANT: dict[str, Callable[[Place, pytest.MonkeyPatch], object]] = {
    "content of a seed": lambda place, _: place.write("seeds/raw_ports.csv", "id\n1\n2\n"),
    "artifacts": lambda place, _: place.write("target/manifest.json", "{}"),
    "a database": lambda place, _: place.write("harbor.duckdb", "x"),
    "a touch": lambda place, _: os.utime(place.project / "models" / "ports.sql", (1, 1)),
    "a variable": lambda _, env: env.setenv("HARBOR", "1"),
}


@pytest.mark.parametrize(
    ("change", "calls"),
    [
        *(pytest.param(change, 2, id=name) for name, change in CHANGES.items()),
        *(pytest.param(change, 1, id=name) for name, change in UNIMPORTANT.items()),
    ],
)
def test_what_matters_is_asked_anew_and_the_rest_costs_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch, change: Callable[[Place, pytest.MonkeyPatch], object], calls: int
) -> None:
    place.load()
    change(place, monkeypatch)
    place.load()
    place.load()

    assert place.calls == calls


@pytest.mark.parametrize(
    ("more", "calls"),
    [
        ({"select": ["stg_ports"]}, 1),
        ({"exclude": ["raw_ports"]}, 1),
        ({"selector": "only_marts"}, 1),
        ({"target": "prod"}, 2),
    ],
)
def test_another_question_is_another_answer(place: Place, more: dict[str, Any], calls: int) -> None:
    place.load()
    place.load(**more)
    place.load()
    place.load(**more)

    assert place.calls == calls


@pytest.mark.parametrize("item", ["colour:red", "state:modified"])
def test_what_the_manifest_cannot_answer_is_asked_of_dbt_and_kept(place: Place, item: str) -> None:
    listed = '{"unique_id": "seed.harbor_ops.raw_ports", "resource_type": "seed"}'
    place.let_dbt(f"case \"$*\" in *'--select {item}'*) echo '{listed}';; *) {SAY};; esac")

    found = [place.load(select=[item]) for _ in range(2)]

    assert [list(each.filtered_nodes) for each in found] == [["seed.harbor_ops.raw_ports"]] * 2
    assert [each.load_method for each in found] == [LoadMode.DBT_LS, LoadMode.DBT_LS_CACHE]
    assert (len(found[0].nodes), place.calls) == (NODES, 2)


def test_words_that_only_cosmos_has_are_refused_where_dbt_selects(place: Place) -> None:
    listed = '{"unique_id": "seed.harbor_ops.raw_ports", "resource_type": "seed"}'
    place.let_dbt(f"case \"$*\" in *'--select '*) echo '{listed}';; *) {SAY};; esac")

    with pytest.raises(CosmosValueError, match="'exclude_resource_type:seed' has words of Cosmos, and dbt evaluates"):
        place.load(select=["state:modified", "exclude_resource_type:seed"])

    assert place.calls == 1, "dbt was asked for the manifest alone"


def test_a_dbt_that_writes_no_manifest_is_named_with_the_way_out(place: Place) -> None:
    place.let_dbt("echo listed")

    with pytest.raises(CosmosLoadDbtException, match=rf"has written no manifest\.json .*{place.dbt}.*DBT_MANIFEST"):
        place.load()


def test_a_variable_that_is_given_counts_whoever_reads_it(place: Place) -> None:
    """A package that dbt deps installs may."""
    for value in ("1", "1", "2"):
        place.load(given={"ELEMENTARY": value})

    assert place.calls == 2


def test_another_checkout_of_the_same_project_is_the_same(place: Place, tmp_path: Path) -> None:
    place.load()
    place.project = Path(shutil.move(place.project, tmp_path / "version-2"))
    profile = tmp_path / "project" / "profiles.yml"
    profile.parent.mkdir()
    shutil.copy(place.project / "profiles.yml", profile)

    made = place.load()

    assert place.calls == 1
    assert {node.path_base for node in made.nodes.values()} == {place.project}


@pytest.mark.parametrize("file", ["models/ports.sql", "profiles.yml"])
def test_a_variable_that_the_project_names_counts(place: Place, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    with (place.project / file).open("a") as text:
        text.write("\n# {{ env_var( 'HARBOR', 'none') }}\n")
    for value in ("north", "north", "south"):
        monkeypatch.setenv("HARBOR", value)
        place.load()

    assert place.calls == 2


UNTOLD = {
    "a macro": ("macros/a.sql", "\n{{ env_var(name) }}", "line 2, computes the name"),
    "the project file": ("dbt_project.yml", "\nvars: {a: '{{ env_var(x) }}'}", r"line \d+, computes the name"),
    "a description": ("models/a.yml", "models:\n- {description: '{{ env_var(x) }}'}", "line 2, computes the name"),
    "a local package": ("packages.yml", "packages:\n- local: '{{ var(x) }}'", "line 2, computes the path"),
}


@pytest.mark.parametrize(("file", "text", "words"), [pytest.param(*case, id=name) for name, case in UNTOLD.items()])
def test_where_nobody_can_tell_what_counts_nothing_is_kept_and_the_file_and_line_are_told(
    place: Place, log: pytest.LogCaptureFixture, file: str, text: str, words: str
) -> None:
    (place.project / file).parent.mkdir(exist_ok=True)
    with (place.project / file).open("a") as opened:
        opened.write(text)
    for _ in range(2):
        assert place.load().version is None

    assert place.calls == (4 if file == "packages.yml" else 2)
    assert re.search(f"{file}, {words}", log.text)
    assert len({id(record) for record in log.records if "runs at each parse" in record.getMessage()}) == 1
    with pytest.raises(CosmosLoadDbtException, match=f"is kept because .*{file}, {words}"):
        place.load(load_method=LoadMode.DBT_LS_CACHE)


def test_no_value_of_a_variable_is_found_in_what_is_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with (place.project / "profiles.yml").open("a") as text:
        text.write("\n# {{ env_var('DBT_ENV_SECRET_TOKEN') }}\n")
    for value in ("s3cret-one", "s3cret-two"):
        monkeypatch.setenv("DBT_ENV_SECRET_TOKEN", value)
        place.load()

    kept = [path for path in place.cache.rglob("*") if path.is_file()]
    assert place.calls == 2
    assert not [path for path in kept if b"s3cret" in path.read_bytes() or "s3cret" in path.name]


def test_a_cache_folder_that_cannot_be_written_to_is_named_with_the_way_out(place: Place) -> None:
    place.cache.mkdir()
    (place.cache / "dbt-ls-detached-v1").write_text("no folder")

    with pytest.raises(CosmosLoadDbtException, match=rf"\[cosmos_venv\] cache_dir {place.cache} .*Make room there"):
        place.load(seconds=DEADLINE)


@pytest.mark.parametrize("switch", ["ENABLE_CACHE", "ENABLE_CACHE_DBT_LS"])
def test_it_can_be_switched_off(place: Place, monkeypatch: pytest.MonkeyPatch, switch: str) -> None:
    monkeypatch.setenv(f"AIRFLOW__COSMOS__{switch}", "False")
    place.load()
    place.load()

    assert place.calls == 2


def test_a_project_that_changes_while_another_process_runs_dbt_is_an_error_of_this_parse_alone(place: Place) -> None:
    place.let_dbt(f"{SAY}; echo 'select 2' > '{place.project}/models/piers.sql'")
    with pytest.raises(CosmosLoadDbtException, match=r"has changed while dbt ls ran, .* Parse again\."):
        place.load(seconds=DEADLINE)
    place.let_dbt(SAY)

    assert len(place.load(seconds=DEADLINE).nodes) == NODES


def test_what_dbt_said_of_a_project_that_changed_meanwhile_is_not_kept(place: Place) -> None:
    """A deployment and its roll-back: nobody knows which of the two dbt has read."""
    place.let_dbt(f"{SAY}; echo 'select 2' > '{place.project}/models/piers.sql'")
    first = place.load()
    place.let_dbt(SAY)
    (place.project / "models" / "piers.sql").unlink()
    second = place.load()

    assert first.version is None
    assert second.version is not None
    assert place.calls == 2


def test_a_folder_that_others_can_write_to_is_not_believed(place: Place) -> None:
    place.load()
    place.cache.chmod(0o777)
    place.load()

    assert place.calls == 2


@contextmanager
def dbt_before(gate: Path, process: subprocess.Popen[str]) -> Iterator[None]:
    """Within this block dbt, which the process has started, stands before the gate."""

    def open_gate() -> int | None:
        assert process.poll() is None, f"dbt was not started: {process.communicate()[0]}"
        try:
            return os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody is there yet
            return None

    opened = wait_until(open_gate, "dbt was not started")
    assert opened is not None
    try:
        yield
    finally:
        os.close(opened)


@pytest.mark.long
def test_of_many_processes_one_asks_dbt_and_the_others_wait_for_its_answer(place: Place, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    place.let_dbt(f"cat '{gate}' > /dev/null; {SAY}")
    first = loading(place)
    with dbt_before(gate, first):
        others = [loading(place) for _ in range(7)]
        for other in others:
            until(other, "Another process is running dbt ls for the same project")
    outputs = [process.communicate(timeout=DEADLINE)[0] for process in (first, *others)]

    assert ["nodes: 32" in output for output in outputs] == [True] * 8
    assert place.calls == 1
