"""The ready-made scenarios of what ``when_seed_changes`` remembers: where, as what, for whom, and if it is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_cosmos_venv.seeds.seed_story import Chapter
from pytest_cosmos_venv.seeds.sentences import BEST_EFFORT, SCOPED, SHA256, VARIABLE

if TYPE_CHECKING:
    from pytest_cosmos_venv.seeds.scenario import SeedScenario

BROKEN_TEXTS = ("", "junk")
BROKEN_JSON = ("null", "[]", '{"checksum": null}', '{"algorithm": "sha256"}')

_CHAPTER = Chapter(behavior="when_seed_changes", model=None)
STORIES = _CHAPTER.stories


@_CHAPTER.story(VARIABLE)
def a_run_sets_a_variable(harbor: SeedScenario) -> None:
    harbor.run().must("ran", stored=True)
    harbor.forget()
    harbor.run().must("ran", stored=True)


@_CHAPTER.story(SHA256)
def the_checksum_is_sha256(harbor: SeedScenario) -> None:
    checksum = harbor.file().digest("sha256")
    harbor.run().must("ran").must_store(checksum, meaning="the SHA-256 of the file")


@_CHAPTER.story(VARIABLE)
def another_checksum_than_the_remembered_one_is_a_change(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.remember("0" * 64)
    harbor.run().must("ran")
    harbor.run().must("skipped")


@_CHAPTER.story(SHA256)
def the_remembered_sha256_is_recognised(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.edit()
    harbor.remember(harbor.file().digest("sha256"))
    harbor.run().must("skipped")


@_CHAPTER.story(BEST_EFFORT)
def a_corrupt_variable_runs_dbt(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.corrupt_variable()
    harbor.run().must("ran")
    for text in BROKEN_TEXTS:
        harbor.corrupt_variable(text)
        harbor.run().must("ran")
    harbor.run().must("skipped")


@_CHAPTER.story(BEST_EFFORT)
def json_of_another_shape_runs_dbt(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    for text in BROKEN_JSON:
        harbor.corrupt_variable(text)
        harbor.run().must("ran")
    harbor.run().must("skipped")


@_CHAPTER.story(BEST_EFFORT)
def a_variable_that_cannot_be_read_runs_dbt(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    with harbor.variables_down(writing=False):
        harbor.run().must("ran")
    harbor.run().must("skipped")


@_CHAPTER.story(BEST_EFFORT, level="should")
def a_variable_that_cannot_be_written_fails_nothing(harbor: SeedScenario) -> None:
    with harbor.variables_down(reading=False):
        harbor.run().must("ran", stored=False)
    harbor.run().must("ran", stored=True)


@_CHAPTER.story(BEST_EFFORT)
def variables_that_are_down_run_dbt(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    with harbor.variables_down():
        harbor.run().must("ran", stored=False)
    harbor.run().must("skipped")


@_CHAPTER.story(SCOPED, places=("harbor", "port"))
def two_dags_remember_apart(harbor: SeedScenario) -> None:
    harbor.run("harbor").must("ran")
    harbor.run("port").must("ran")
    harbor.edit()
    harbor.run("harbor").must("ran")
    harbor.run("port").must("ran")


@_CHAPTER.story(SCOPED, places=("port/north", "port/south"))
def two_groups_of_a_dag_remember_apart(harbor: SeedScenario) -> None:
    harbor.run().must("ran", place="port/north").must("ran", place="port/south")
    harbor.run().must("skipped", place="port/north").must("skipped", place="port/south")


def _two_that_remember_apart(harbor: SeedScenario) -> None:
    first, second = harbor.setup.places
    harbor.run(first.dag_id).must("ran", place=str(first))
    harbor.run(second.dag_id).must("ran", place=str(second))
    harbor.run(first.dag_id).must("skipped", place=str(first))


for _name, _places in {
    "equal-groups-of-two-dags-remember-apart": ("east/harbor", "west/harbor"),
    "a-dag-and-a-group-of-its-name-remember-apart": ("harbor", "port/harbor"),
    "a-group-and-one-of-another-dag-within-a-group-remember-apart": ("east/harbor", "west/port/harbor"),
}.items():
    _CHAPTER.add(_name, SCOPED, _two_that_remember_apart, places=_places)
for _name, _places in {
    "ids-that-join-to-the-same-text-remember-apart": ("x/y__z", "x__y/z"),
    "a-dag-whose-id-looks-like-a-group-remembers-apart": ("x__y", "x/y"),
}.items():
    _CHAPTER.add(_name, SCOPED, _two_that_remember_apart, level="should", places=_places)


@_CHAPTER.story(SCOPED)
def another_dag_starts_afresh(harbor: SeedScenario) -> None:
    harbor.run().must("ran")
    harbor.change(places=["port"])
    harbor.run().must("ran")
