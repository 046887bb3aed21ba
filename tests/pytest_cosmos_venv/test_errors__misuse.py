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
        ("it.script(5)", "command=5: give a text."),
        ("it(dbt_version=1.10)", "dbt_version=1.1 is no version of dbt: give one such as 1.10.0."),
        ("it(adapters='duckdb')", "adapters='duckdb': give a tuple of names without 'dbt-', such as ('duckdb',)."),
        ("it.wait_for_call('run', timeout=0.01)", "dbt run (number 1) has not begun within 0.01 s. Calls on *none."),
        ("it.wait_for_call('rn')", "command='rn' is unknown to dbt: give one of *"),
        ("it.calls[0]", "calls[0]: dbt was not called."),
        ("it(path=__file__)", "path=*: no environment can be made there (*). Give a directory, which may be missing."),
    ],
    "cosmos_wheelhouse": [
        ("it.add_dbt(1.9)", "version=1.9 of dbt-core is none that an installer understands: write it as 1.9.0."),
        ("it.add_adapter('duck db')", "'dbt-duck db' is no name that an installer understands: write it as *"),
        ("it.add('dbt-harbor')", "add('dbt-harbor'): give a Wheel(name=*), or use add_sdist."),
        ("it.add_broken('melted')", "breakage='melted' is unknown: take one of no-console-script, import-error, *"),
        ("it.add_adapter('harbor', dbt='dbt core >>')", "dbt: 'dbt core >>' is no requirement: write it as *"),
        ("it.add_sdist().builds[0]", "builds[0]: nobody has built dbt_core-99.0.tar.gz."),
    ],
    "cosmos_package_index": [
        ("it.fault(200)", "kind=200 is no fault: give a status from 400 to 599, or one of truncated, wrong-hash."),
        ("it.requests[0]", "requests[0]: the index was asked nothing."),
        ("it.require_login('harbor', None)", "password=None cannot stand in an address: take letters, *"),
    ],
    "cosmos_pids": [
        ("it.kill(1)", "cosmos_pids.kill(1): that is no running process of cosmos_pids in this test."),
        ("it.reused(tmp_path)", "cosmos_pids.reused(*): give the lock file's path (*)."),
    ],
    "cosmos_process_table": [
        ("it.end(1)", "cosmos_process_table.end(1): that is no process of this table."),
    ],
    "cosmos_venv_lock": [
        ("it(tmp_path).held_by('me')", "held_by('me'): give a PID, or write any text with garbage(text)."),
        ("it(None)", "cosmos_venv_lock(None): give the virtualenv_dir, a path."),
        ("it(__file__).stale()", "cosmos_venv_lock(*): * is no directory; give the virtualenv_dir, a directory, *"),
        (
            "it(tmp_path / 'cosmos_virtualenv.lock')",
            "cosmos_venv_lock(*): give the directory in which this file lies, *",
        ),
        ("it(tmp_path).history[0]", "history[0]: nobody has held */cosmos_virtualenv.lock."),
    ],
    "cosmos_race": [
        ("it(lambda contender: None)", "*<lambda> is made inside a function, and a contender, *"),
        ("it(work_alone)", "cosmos_race calls <function work_alone *> with the contender and 0 arguments, and *"),
        ("it(work, threading.Lock())", "cosmos_race: <unlocked _thread.lock *> cannot be handed to another process *"),
        ("it(work, services=5)", "services=5: give a list of process names or command lines: ['dbt-server*']."),
        ("it(work).sightings['never']", "'never' is no point that this race waited for; there are none."),
        ("it(work).timeline.spans('dbt')[0]", "spans[0]: nothing of the name 'dbt'; the timeline has task."),
        ("it.barrier('start')", "cosmos_race.barrier: this test is no contender. Mark it @pytest.mark.cosmos_race(*"),
        ("it.explore('work')", "cosmos_race('work'): give the function that is to race, not its name."),
        ("it.explore(work, contenders=9)", "cosmos_race.explore: 9 contenders; at most 8 can be explored."),
        ("it.explore(work, at_most=0)", "at_most=0: give 1 or more."),
        ("it.replay('a12 nine', work)", "seed='a12 nine': 'nine' is no part of a schedule, such as *"),
    ],
    "cosmos_dbt_project": [
        ("it('h', profile='postgres')", "profile='postgres': give the keys of its target, such as *"),
        ("it('h').model('m', 'select 1', materialised='view')", "*materialised*did you mean *materialized*"),
        ("p = it('h'); p.model('m', \"{{ ref('x') }}\"); p.manifest()", "*'x'*"),
        ("it('h'); it('h')", "There is a project 'h' already (*): give this one another name."),
    ],
    "cosmos_http_manifest": [
        (
            "it(tmp_path / 'manifest.json')",
            "cosmos_http_manifest(PosixPath(*)): give a project of cosmos_dbt_project, *",
        ),
        ("it({'a': object()})", "cosmos_http_manifest: this is no manifest, since JSON cannot hold it (*)."),
        ("it({}).requests[0]", "requests[0]: nobody has asked for the manifest."),
    ],
    "cosmos_connections": [
        ("it.add('w', conn_type='postgres', user='x')", "cosmos_connections.add('w'): *'user'; did you mean login?"),
        ("it.add('w')", "cosmos_connections.add('w'): say of which kind it is: conn_type='postgres'."),
        ("it.add(5)", "cosmos_connections.add(5): no environment variable can be named after this id; leave out '='."),
    ],
    "cosmos_clock": [
        ("it.freeze('soon')", "when='soon' is no date and no time: write it as 2026-01-01 or *"),
        ("it.move('1h')", "cosmos_clock.move('1h'): give seconds, or a timedelta."),
    ],
    "cosmos_variables": [
        ("it.put('k', 1)", "cosmos_variables.put('k', 1): Airflow keeps texts; give json.dumps(*"),
        ("it.values['k']", "'k' is no Variable; there are none."),
        ("it.writes[0]", "writes[0]: the code under test has changed no Variable."),
    ],
    "cosmos_airflow_home": [
        ("it.add_dag_file('../x.py', '')", "add_dag_file('../x.py'): give the name of a Python *"),
    ],
    "cosmos_run_dag": [
        ("it('harbor')", "cosmos_run_dag runs a DAG, and this is none: 'harbor'. Of a file, import the DAG."),
        ("it(dag(), run_id='two words')", "run_id='two words': Airflow takes what fits *, such as 'one'."),
    ],
    "cosmos_run_task": [
        ("it('run')", "cosmos_run_task runs an operator, and this is none: 'run'. Call it to make one.")
    ],
    "cosmos_dag_shape": [
        ("it('harbor')", "The shape of a DAG was asked for, and what was given is an object of builtins.str.")
    ],
    "cosmos_parse_budget": [
        ("it('no_such_dag.py')", "cosmos_parse_budget('no_such_dag.py'): there is no such DAG file."),
        ("it(lambda: 5)", "What cosmos_parse_budget calls returned int: it has to return the DAG that it builds."),
    ],
    "cosmos_seed_scenario": [("it", "--cosmos-implementation=no_such: no package no_such can be imported here; *")],
}

HEAD = """
import signal
import threading
from pathlib import Path
import pytest
import subprocess
from pytest_cosmos_venv import Wheel

def dag():
    from datetime import datetime
    from airflow import DAG
    from airflow.providers.standard.operators.empty import EmptyOperator
    with DAG("pier", schedule=None, start_date=datetime(2026, 1, 1)) as made:
        EmptyOperator(task_id="rest")
    return made

def work(contender, *arguments):
    pass

def work_alone():
    pass

@pytest.mark.cosmos_race(contenders=2)
def test_nobody_races():
    pass

@pytest.fixture(scope="session")
def for_all_tests(cosmos_fake_venv):
    pass

def test_outside_of_a_test(for_all_tests):
    pass

def test_called_like_a_function():
    from pytest_cosmos_venv.fixtures.environments import cosmos_fake_venv
    cosmos_fake_venv()
"""
TOLD_OF_HEAD = {
    "test_nobody_races": "test_nobody_races is marked cosmos_race, but nothing in it asks for the fixture cosmos_r*",
    # These two are pytest's own.
    "test_outside_of_a_test": "ScopeMismatch: You tried to access the function scoped fixture cosmos_fake_venv with *",
    "test_called_like_a_function": 'Fixture "cosmos_fake_venv" called directly. Fixtures are not meant to be called *',
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
