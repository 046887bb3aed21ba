"""Does wrong use of the toolkit end with a sentence that says what to do, and without a traceback of its insides?"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from pytest_cosmos_venv.sharing import SharedFolders

pytest_plugins = ["pytester"]

# Fixture -> (what a test does with `it`, what it is told). One inner test for each.
MISUSES: dict[str, list[tuple[str, str]]] = {
    "cosmos_implementation": [("it", "--cosmos-implementation=no_such: no package no_such can be imported here; *")],
    "cosmos_fake_venv": [
        (
            "it.script(exit_code=1, crash=signal.SIGKILL)",
            "exit_code=1 and crash=SIGKILL: a process ends in one way; give one of them.",
        ),
        ("it.script('run', exitcode=1)", "script(exitcode=…): there is no such keyword; there are nth, *"),
        ("it.script(5)", "command=5: give a text."),
        ("it.script(exit_code='1')", "exit_code='1': give a whole number."),
        ("it.script(nth='2')", "nth='2': give a whole number."),
        ("it.script(delay='1s')", "delay='1s': give seconds."),
        ("it.script(nodes='orders')", "nodes='orders': give a dictionary, *"),
        ("it.script(nodes={'orders': 'melted'})", "status='melted' is unknown to dbt: give one of error, *"),
        ("it.script(stdout='text')", "stdout='text': give a list of lines."),
        ("it.script(ignore_signals=signal.SIGTERM)", "ignore_signals=*: give a list, such as [signal.SIGTERM]."),
        ("it.script(crash='SIGKILL')", "'SIGKILL' is no signal: give one such as signal.SIGTERM."),
        ("it(dbt_version=1.10)", "dbt_version=1.1 is no version of dbt: give one such as 1.10.0."),
        ("it(adapters='duckdb')", "adapters='duckdb': give a tuple of names without 'dbt-', such as ('duckdb',)."),
        ("it.wait_for_call('run', deadline=0.01)", "dbt run (number 1) has not begun within 0.01 s. Calls on *none."),
    ],
    "cosmos_wheelhouse": [
        ("it.add_dbt(1.9)", "version=1.9 of dbt-core is none that an installer understands: write it as 1.9.0."),
        ("it.add_adapter('duck db')", "'dbt-duck db' is no name that an installer understands: write it as *"),
        ("it.add('dbt-harbor')", "add('dbt-harbor'): give a Wheel(name=*), or use add_sdist."),
        ("it.add_broken('melted')", "breakage='melted' is unknown: take one of no-console-script, *"),
    ],
    "cosmos_package_index": [
        ("it.fault(200)", "kind=200 is no fault: give a status from 400 to 599, or one of truncated, wrong-hash."),
        ("it.delay(-1)", "seconds=-1 would answer before it is asked: give 0 or more."),
        ("it.require_login('harbor', None)", "password=None cannot stand in an address: take letters, *"),
    ],
    "cosmos_pids": [("it.kill(1)", "cosmos_pids.kill(1): that is no running process of cosmos_pids in this test.")],
    "cosmos_process_table": [("it.end(1)", "cosmos_process_table.end(1): that is no process of this table.")],
    "cosmos_venv_lock": [
        ("it(tmp_path).held_by('me')", "held_by('me'): give a PID, or write any text with garbage(text)."),
        ("it(tmp_path).unreadable('fire')", "unreadable('fire'): say 'directory' or 'dangling-link'."),
    ],
    "cosmos_task_race": [
        ("it(lambda contender: None)", "*<lambda> is made inside a function, and a contender, *"),
        ("it(work_alone)", "cosmos_task_race calls work_alone() with the contender and 0 arguments, and that does *"),
        ("it('work')", "cosmos_task_race('work'): give the function that is to race, not its name."),
        ("it(None)", "cosmos_task_race(None): give the function that is to race, not its name."),
        ("it(work, contenders=0)", "contenders=0: a race needs at least one, and two to be one."),
        ("it(work, threading.Lock())", "Argument 1 of the work, a lock, cannot be handed to another process *"),
        ("it(work, kill_at='installing')", "kill_at='installing' is seen from outside and needs cosmos_wheelhouse *"),
        ("it(work, kill_at=5)", "kill_at=5: give the name of a point, or a Point."),
    ],
    "cosmos_dbt_project": [
        ("it('h', profile='postgres')", "profile='postgres': give the keys of its target, such as *"),
        ("it('h').model('m', 'select 1', tests='unique')", "tests='unique' of m: give column -> its tests, *"),
        ("it('h').model('m', 'select 1', materialised='view')", "*materialised*did you mean *materialized*"),
        ("p = it('h'); p.model('m', \"{{ ref('x') }}\"); p.manifest()", "*'x'*"),
    ],
    "cosmos_http_manifest": [
        (
            "it(tmp_path / 'manifest.json')",
            "cosmos_http_manifest(PosixPath(*)): give a project of cosmos_dbt_project, *",
        ),
        ("it({}).answer(99)", "*99*"),
    ],
    "cosmos_peak_memory": [("measured(it).ratio_to(PeakMemory())", "cosmos_peak_memory: the reference run held no *")],
    "cosmos_connections": [
        ("it.add('w', conn_type='postgres', user='x')", "cosmos_connections.add('w'): *'user'; did you mean login?"),
        ("it.add('w')", "cosmos_connections.add('w'): say of which kind it is: conn_type='postgres'."),
    ],
    "cosmos_clock": [
        ("it.freeze('soon')", "when='soon' is no date and no time: write it as 2026-01-01 or *"),
        ("it.freeze(5)", "when=5 is no date and no time: write it as '2026-01-01'."),
        ("it.move('1h')", "cosmos_clock.move('1h'): give seconds, or a timedelta."),
    ],
    "cosmos_variables": [("it.put('k', 1)", "cosmos_variables.put('k', 1): Airflow keeps texts; give json.dumps(*")],
    "cosmos_airflow_home": [("it.add_dag_file('../x.py', '')", "add_dag_file('../x.py'): give the name of a Python *")],
    "cosmos_run_dag": [
        ("it('harbor')", "cosmos_run_dag runs a DAG, and this is none: 'harbor'. Of a file, import the DAG."),
        ("it(None)", "cosmos_run_dag runs a DAG, and this is none: None. Of a file, import the DAG."),
    ],
    "cosmos_run_task": [
        ("it('run')", "cosmos_run_task runs an operator, and this is none: 'run'. Call it to make one.")
    ],
    "cosmos_dag_shape": [
        ("it('harbor')", "The shape of a DAG was asked for, and what was given is an object of *str.")
    ],
    "cosmos_parse_budget": [
        ("it('no_such_dag.py')", "cosmos_parse_budget('no_such_dag.py'): there is no such DAG file."),
        ("it(5)", "cosmos_parse_budget(5): give what builds the DAG, not the DAG: *"),
        ("it(lambda: 5)", "What cosmos_parse_budget calls returned int: it has to return the DAG that it builds."),
    ],
    "cosmos_seed_scenario": [("it", "--cosmos-implementation=no_such: no package no_such can be imported here; *")],
    "cosmos_racer": [("it", "*asks for cosmos_racer and is no race: mark it @pytest.mark.cosmos_race(racers=2).")],
}

MARKS = {
    "racers=1": "cosmos_race(racers=1): a race takes a number of racers from 2 up.",
    "racers='3'": "cosmos_race(racers='3'): a race takes a number of racers from 2 up.",
    "3": "cosmos_race(3): name the argument, as in cosmos_race(racers=3).",
    "": "cosmos_race: say how many, as in cosmos_race(racers=3).",
    "racers=2, workers=2": "cosmos_race knows racers, across_workers, timeout, and not workers.",
    "racers=2, across_workers='yes'": "cosmos_race(across_workers='yes'): say True or False.",
    "racers=2, timeout='1m'": "cosmos_race(timeout='1m'): give seconds, more than 0.",
}

HEAD = """
import signal
import threading
from pathlib import Path
import pytest
from pytest_cosmos_venv import PeakMemory

def work(contender, *arguments):
    pass

def work_alone():
    pass

def measured(measure):
    with measure() as peak:
        return peak

@pytest.mark.cosmos_race(racers=2)
def test_nobody_races():
    pass

@pytest.fixture
def number(cosmos_racer):
    return cosmos_racer.index

@pytest.mark.cosmos_race(racers=2)
def test_asked_too_early(number):
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
    "test_nobody_races": "test_nobody_races is marked cosmos_race, but nothing in it asks for *",
    "test_asked_too_early": "cosmos_racer.index: fixtures are set up once for all racers where *",
    # These two are pytest's own.
    "test_outside_of_a_test": "ScopeMismatch: You tried to access the function scoped fixture cosmos_fake_venv with *",
    "test_called_like_a_function": 'Fixture "cosmos_fake_venv" called directly. Fixtures are not meant to be called *',
}


def test_every_misuse_ends_with_a_sentence(pytester: pytest.Pytester, request: pytest.FixtureRequest) -> None:
    shared: SharedFolders = request.getfixturevalue("_cosmos_shared")
    source, told = [HEAD], dict(TOLD_OF_HEAD)
    for fixture, cases in MISUSES.items():
        for number, (use, sentence) in enumerate(cases):
            name = f"test_{fixture}_{number}"
            told[name] = sentence
            source.append(f"def {name}({fixture}, tmp_path):\n    it = {fixture}\n    {use}\n")
    for number, (arguments, sentence) in enumerate(MARKS.items()):
        told[f"test_mark_{number}"] = sentence
        source.append(
            f"@pytest.mark.cosmos_race({arguments})\ndef test_mark_{number}(cosmos_racer):\n    pass\n"
            if arguments
            else f"@pytest.mark.cosmos_race\ndef test_mark_{number}(cosmos_racer):\n    pass\n"
        )
    pytester.makepyfile(test_misuse="\n".join(source))
    options = ["--cosmos-implementation=no_such", f"--cosmos-cache-dir={shared.root}", "-p", "no:xdist"]

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


def test_without_xdist_a_race_across_workers_says_where_it_ran(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.cosmos_race(racers=2, across_workers=True)
        def test_two(cosmos_racer):
            cosmos_racer.barrier("both are here")
        """
    )

    result = pytester.runpytest_subprocess("-p", "no:xdist")

    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.fnmatch_lines(
        [
            "*races in processes of their own, not across workers*",
            "2 racers need 2 workers of pytest-xdist that share the tests, this run has none",
        ]
    )


def test_a_cache_that_cannot_be_written_to_is_named(pytester: pytest.Pytester) -> None:
    Path(pytester.path, "taken").touch()
    pytester.makepyfile("def test_it(cosmos_wheelhouse): pass")

    result = pytester.runpytest_subprocess("--cosmos-cache-dir=taken")

    result.stdout.fnmatch_lines(["Nothing can be kept in */taken (*): name a folder that can be written to with *"])
    result.stdout.no_fnmatch_line("*sharing.py*")
