"""Wrong use of the toolkit ends with a sentence that says what to do, and without a traceback of its insides."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

# Fixture -> (what a test does with `it`, what it is told). One inner test for each.
MISUSES: dict[str, list[tuple[str, str]]] = {
    "cosmos_implementation": [("it", "--cosmos-implementation=no_such: no package no_such can be imported here; *")],
    "cosmos_fake_venv": [
        ("it(dbt_version=1.10)", "dbt_version=1.1 is no version of dbt: give one such as 1.10.0."),
        ("it.wait_for_call('run', timeout=0.01)", "dbt run (number 1) has not begun within 0.01 s. Calls on *none."),
        ("it.wait_for_call('rn')", "command='rn' is unknown to dbt: give one of *"),
        ("it.calls[0]", "calls[0]: dbt was not called."),
        ("it(path=__file__)", "path=*: no environment can be made there (*). Give a directory, which may be missing."),
    ],
    "cosmos_dbt": [
        ("it.add_dbt(1.9)", "version=1.9 of dbt-core is none that an installer understands: write it as 1.9.0."),
        ("it.add_adapter('duck db')", "'dbt-duck db' is no name that an installer understands: write it as *"),
        ("it.add_adapter('harbor', dbt='dbt core >>')", "dbt: 'dbt core >>' is no requirement: write it as *"),
        ("it.add_sdist().builds[0]", "builds[0]: nobody has built dbt_core-99.0.tar.gz."),
        (
            "it.index.fault(200)",
            "kind=200 is no fault: give a status from 400 to 599, or one of truncated, wrong-hash.",
        ),
        ("it.index.requests[0]", "requests[0]: the index was asked nothing."),
        ("it.index.require_login('harbor', None)", "password=None cannot stand in an address: take letters, *"),
    ],
    "cosmos_lock": [
        ("it.pids.kill(1)", "cosmos_lock.pids.kill(1): that is none of the running processes of cosmos_lock.pids."),
        ("it(__file__).stale()", "cosmos_lock(*): * is no directory; give the virtualenv_dir, a directory, *"),
        (
            "it(tmp_path / 'cosmos_virtualenv.lock')",
            "cosmos_lock(*): give the directory in which this file lies, *",
        ),
    ],
    "cosmos_race": [
        ("it(lambda contender: None)", "*<lambda> is made inside a function, and a contender, *"),
        ("it(work, threading.Lock())", "cosmos_race: <unlocked _thread.lock *> cannot be handed to another process *"),
        ("it(work, services=5)", "services=5: give a list of process names or command lines: ['dbt-server*']."),
        ("it(work).sightings['never']", "'never' is no point that this race waited for; there are none."),
        ("it.barrier('start')", "cosmos_race.barrier: this test is no contender. Mark it @pytest.mark.cosmos_race(*"),
        ("it.explore(work, contenders=9)", "cosmos_race.explore: 9 contenders; at most 8 can be explored."),
        ("it.explore(work, at_most=0)", "at_most=0: give 1 or more."),
        ("it.replay('a12 nine', work)", "seed='a12 nine': 'nine' is no part of a schedule, such as *"),
    ],
    "cosmos_project": [
        ("it('h').model('m', 'select 1', materialised='view')", "*materialised*did you mean *materialized*"),
        ("p = it('h'); p.model('m', \"{{ ref('x') }}\"); p.manifest()", "*'x'*"),
        ("it('h'); it('h')", "There is a project 'h' already (*): give this one another name."),
        ("it.serve({}).requests[0]", "requests[0]: nobody has asked for the manifest."),
    ],
    "cosmos_airflow": [
        ("it.at('soon')", "when='soon' is no date and no time: write it as 2026-01-01 or *"),
        ("it.variables.values['k']", "'k' is no Variable; there are none."),
        ("it.run('harbor')", "cosmos_airflow.run runs a DAG or an operator, and this is neither: 'harbor'. *"),
        ("it.shape('harbor')", "The shape of a DAG was asked for, and what was given is an object of builtins.str."),
        ("it.budget('no_such_dag.py')", "cosmos_airflow.budget('no_such_dag.py'): there is no such DAG file."),
        ("it.budget(lambda: 5)", "What cosmos_airflow.budget calls returned int: it has to return the DAG *"),
        ("it.load('no_such_dag.py')", "cosmos_airflow.load('no_such_dag.py'): there is no file */no_such_dag.py."),
        ("it.load('no_such_dag.py', connections='real')", "load(connections='real'): say 'made up', or use *"),
    ],
    "cosmos_seeds": [("it", "--cosmos-implementation=no_such: no package no_such can be imported here; *")],
}

HEAD = """
import threading
import pytest

def work(contender, *arguments):
    pass

@pytest.mark.cosmos_race(contenders=2)
def test_nobody_races():
    pass
"""
TOLD_OF_HEAD = {
    "test_nobody_races": "test_nobody_races is marked cosmos_race, but nothing in it asks for the fixture cosmos_r*",
}


@pytest.mark.long
def test_every_misuse_ends_with_a_sentence(pytester: pytest.Pytester, cache_dir: Path) -> None:
    source, told = [HEAD], dict(TOLD_OF_HEAD)
    for fixture, cases in MISUSES.items():
        for number, (use, sentence) in enumerate(cases):
            name = f"test_{fixture}_{number}"
            told[name] = sentence
            source.append(f"def {name}({fixture}, tmp_path):\n    it = {fixture}\n    {use}\n")
    pytester.makepyfile(test_misuse="\n".join(source))
    options = ["--cosmos-implementation=no_such", f"--cosmos-cache-dir={cache_dir}", "-p", "no:xdist"]

    output = str(pytester.runpytest_subprocess(*options).stdout)

    seen = reports_of(output)
    assert seen.keys() == told.keys()
    wrong = {name: seen[name] for name, sentence in told.items() if not is_told(seen[name], sentence)}
    assert wrong == {}


def reports_of(output: str) -> dict[str, str]:
    """Test -> what pytest reports of it, as it is printed."""
    told = output.partition("short test summary info")[0]
    parts = re.split(r"^_+ (?:ERROR at setup of )?(test_\w+) _+$", told, flags=re.MULTILINE)[1:]
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def is_told(report: str, sentence: str) -> bool:
    """The sentence stands first, and no line of anybody's code is shown."""
    first = report.partition("\n")[0]
    code = re.search(r"^(>|E ) ", report, re.MULTILINE)
    return fnmatchcase(first, sentence.replace("[", "[[]")) and code is None
