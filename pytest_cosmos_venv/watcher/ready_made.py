"""The ready-made scenarios of ExecutionMode.WATCHER, on a small project that the toolkit makes.

Each is about a kind of trouble that users have reported of astronomer-cosmos, and that shows without a scheduler and a
triggerer. The project: the seed ``piers``; the models ``staging``, which reads it, ``mart``, which reads ``staging``,
``report``, which reads ``mart``, and ``ships``, which reads nothing; the test ``staging_is_whole``, and the test
``ships_at_piers`` of ``staging`` and ``ships``.
"""

from __future__ import annotations

import signal

from pytest_cosmos_venv.watcher.scenario import WatcherScenario

NODES = ("piers", "staging", "mart", "report", "ships")
ONCE = dict.fromkeys(NODES, 1)

_MART_FAILS = {"command": "build", "nodes": {"mart": "error"}}
_MART_FAILS_FIRST = {**_MART_FAILS, "nth": 1}
# Without a command they are for each dbt: an implementation may build single nodes when the producer has failed.
_KILLED = {"at": "mart", "crash": signal.SIGKILL}
_CANNOT_BEGIN = {"exit_code": 2}
_BEFORE_MART = ("piers", "staging")

WATCHER_SCENARIOS: tuple[WatcherScenario, ...] = (
    WatcherScenario(
        id="each-node-is-built-once",
        sentence="Where dbt succeeds, every task succeeds, and each node is built once.",
        reported=("#2557",),
        retries=1,
        run="success",
        success=NODES,
        built=ONCE,
    ),
    WatcherScenario(
        id="a-failed-node-fails-its-task",
        sentence="The task of a node that dbt has failed to build fails.",
        reported=("#2554",),
        dbt=({"command": "build", "nodes": {"report": "error"}},),
        run="failed",
        success=("piers", "staging", "mart", "ships"),
        failed=("report",),
    ),
    WatcherScenario(
        id="a-failed-node-fails-the-run",
        sentence="A run fails by a failed node, also where the tasks behind that were skipped.",
        reported=("#2554", "#2698"),
        dbt=(_MART_FAILS,),
        run="failed",
        success=("piers", "staging", "ships"),
        failed=("mart",),
        not_success=("report",),
    ),
    WatcherScenario(
        id="a-node-without-status-is-not-green",
        sentence="The task of a node of which dbt has said nothing is not green, also where dbt ends without an error.",
        reported=("#2698",),
        dbt=({"command": "build", "stdout": (), "artifacts": {"run_results.json": None}},),
        run="failed",
        not_success=NODES,
    ),
    WatcherScenario(
        id="a-killed-dbt-leaves-no-green-task",
        sentence="When dbt is killed, the tasks of what it has built succeed, and no others.",
        reported=("#2554",),
        dbt=(_KILLED,),
        run="failed",
        success=_BEFORE_MART,
        not_success=("mart", "report"),
    ),
    WatcherScenario(
        id="an-early-error-fails-the-run",
        sentence="When dbt ends before it builds anything, no task succeeds, and the run fails.",
        reported=("#2947",),
        dbt=(_CANNOT_BEGIN,),
        run="failed",
        not_success=NODES,
    ),
    WatcherScenario(
        id="an-early-error-is-over-in-the-next-try",
        sentence="When dbt ends before it builds anything, a retry builds every node once.",
        reported=("#2947", "#2594"),
        dbt=({**_CANNOT_BEGIN, "command": "build", "nth": 1},),
        retries=1,
        run="success",
        success=NODES,
        built=ONCE,
    ),
    WatcherScenario(
        id="a-retry-builds-what-is-not-done",
        sentence="A retry builds the node that has failed and what was skipped by it, and nothing twice.",
        reported=("#2594", "#2557", "#3001"),
        dbt=(_MART_FAILS_FIRST,),
        retries=1,
        run="success",
        success=NODES,
        built=ONCE,
    ),
    WatcherScenario(
        id="a-killed-dbt-is-tried-again",
        sentence="A retry after a kill builds what is not done, and nothing twice.",
        reported=("#2594", "#2557"),
        dbt=({**_KILLED, "command": "build", "nth": 1},),
        retries=1,
        run="success",
        success=NODES,
        built=ONCE,
    ),
    WatcherScenario(
        id="a-retry-while-the-producer-waits-for-its-own",
        sentence="The retry of a node's task is not used up while the producer waits for its own retry.",
        reported=("#3001",),
        dbt=(_MART_FAILS_FIRST,),
        retries=1,
        is_producer_late=True,
        run="success",
        success=NODES,
        built=ONCE,
    ),
    WatcherScenario(
        id="a-retry-of-a-node-alone",
        sentence="Where the producer has no retries, the retry of a failed node's task builds that node.",
        reported=("#3001", "#2557"),
        dbt=(_MART_FAILS_FIRST,),
        retries=1,
        producer_retries=0,
        success=("piers", "staging", "mart", "ships"),
        built={"piers": 1, "staging": 1, "mart": 1, "ships": 1},
    ),
    WatcherScenario(
        id="flags-reach-every-dbt",
        sentence="Flags of operator_args reach the producer's dbt and that of a node alone.",
        reported=("#2113", "#2127", "#2917"),
        dbt=(_MART_FAILS_FIRST,),
        retries=1,
        producer_retries=0,
        operator_args={"full_refresh": True, "vars": {"port": "north"}},
        success=("mart",),
        told=("--full-refresh", "--vars"),
    ),
    WatcherScenario(
        id="a-failed-test-fails-its-task",
        sentence="The test task of a model fails when its test has failed, and so does the run.",
        reported=("#2311", "#2427"),
        dbt=({"command": "build", "nodes": {"staging_is_whole": "fail"}},),
        test_behavior="after_each",
        run="failed",
        success=("piers", "staging", "ships"),
        failed=("staging.test",),
    ),
    WatcherScenario(
        id="a-failed-test-of-two-models",
        sentence="When a test of two models has failed, the test task of neither of them is green.",
        reported=("#2901",),
        dbt=({"command": "build", "nodes": {"ships_at_piers": "fail"}},),
        test_behavior="after_each",
        run="failed",
        success=("piers", "staging", "ships"),
        not_success=("staging.test", "ships.test", "ships_at_piers.test"),
    ),
    WatcherScenario(
        id="a-test-of-two-models-runs-once",
        sentence="Tests run once, also one of two models, and every test task succeeds.",
        reported=("#2901", "#2557"),
        test_behavior="after_each",
        run="success",
        success=(*NODES, "staging.test"),
        built={**ONCE, "staging_is_whole": 1, "ships_at_piers": 1},
        # The fake dbt selects no tests by their model: what such a call has run again is not to be seen in it.
        not_called=("test",),
    ),
    WatcherScenario(
        id="an-excluded-node-is-not-waited-for",
        sentence="A node that exclude leaves out has no task and is not built, and the run succeeds.",
        reported=("#2981",),
        exclude=("path:models/report.sql",),
        run="success",
        success=("piers", "staging", "mart", "ships"),
        absent=("report",),
        built={"piers": 1, "staging": 1, "mart": 1, "report": 0, "ships": 1},
    ),
    WatcherScenario(
        id="a-seed-that-is-only-shown",
        sentence="With render_only the producer loads the seed all the same, and its task succeeds.",
        seeds="render_only",
        run="success",
        success=NODES,
        built=ONCE,
    ),
    WatcherScenario(
        id="a-seed-without-a-task",
        sentence="With none the producer loads the seed all the same, which has no task.",
        seeds="none",
        run="success",
        success=("staging", "mart", "report", "ships"),
        absent=("piers",),
        built=ONCE,
    ),
    WatcherScenario(
        id="behind-a-failed-task",
        sentence="Behind a task that has failed nothing is built, no task of a node is green, and the run fails.",
        reported=("#2557",),
        retries=1,
        is_behind_failure=True,
        run="failed",
        not_success=NODES,
        built=dict.fromkeys(NODES, 0),
    ),
)
"""All of them, for ``@pytest.mark.parametrize("scenario", WATCHER_SCENARIOS, ids=str)``."""
