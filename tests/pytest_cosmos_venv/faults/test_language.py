"""A fault is written as a sentence or by keywords, and both mean the same. What means nothing is refused at once."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_cosmos_venv import ToolkitMisuse
from pytest_cosmos_venv.faults.language import Fault, faults_of, parse_fault

pytest_plugins = ["pytester"]


@pytest.mark.parametrize(
    ("sentence", "keywords"),
    [
        ("worker killed after node 3", {"what": "worker_killed", "at": "node 3"}),
        ("pod killed in task load, twice", {"what": "pod_killed", "in_task": "load", "times": 2}),
        ("dbt killed after node orders every time", {"what": "dbt_killed", "at": "node orders", "times": None}),
        ("dbt hangs after node 2 for 3 s", {"what": "dbt_hangs", "at": "node 2", "lasts": "3 s"}),
        ("index down at request 2 for 3 requests", {"what": "index_down", "at": "request 2", "lasts": "3 requests"}),
        ("disk  full\n 3 times", {"what": "disk_full", "times": 3}),
        ("lock left behind", {"what": "lock_left_behind"}),
    ],
)
def test_a_sentence_and_its_keywords_mean_the_same(sentence: str, keywords: dict[str, Any]) -> None:
    fault = parse_fault(sentence)

    assert fault == Fault(**keywords)
    assert parse_fault(str(fault)) == fault


def test_lengths_have_units() -> None:
    assert parse_fault("index down for 2 min").length == (120.0, "s")
    assert parse_fault("index down for 1 request").length == (1.0, "requests")
    assert parse_fault("index down").length is None


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("worker kiled after node 3", "there is no fault .* Is 'worker killed' meant"),
        ("worker killed after lunch", "'after lunch' has no meaning there"),
        ("index down for 3 lightyears", "lasts='3 lightyears'.*give '30 s' or '3 requests'"),
    ],
)
def test_what_means_nothing_is_refused_with_the_way_out(sentence: str, said: str) -> None:
    with pytest.raises(ToolkitMisuse, match=said):
        parse_fault(sentence)


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        (pytest.mark.cosmos_fault(), "say what happens. The faults are: 'worker killed' "),
        (pytest.mark.cosmos_fault("worker killed", at="node 3"), "a sentence or keywords, not both"),
        (pytest.mark.cosmos_fault(what="worker_killed", times=0), "times=0"),
    ],
)
def test_a_mark_is_checked_as_a_whole(mark: pytest.MarkDecorator, said: str) -> None:
    with pytest.raises(ToolkitMisuse, match=said):
        faults_of([mark.mark])


def test_several_sentences_and_marks_are_several_faults() -> None:
    marks = [
        pytest.mark.cosmos_fault("disk full", "index down", may_not_happen=True).mark,
        pytest.mark.cosmos_fault(what="pod_killed").mark,
    ]

    assert [(fault.what, fault.may_not_happen) for fault in faults_of(marks)] == [
        ("disk_full", True),
        ("index_down", True),
        ("pod_killed", False),
    ]
