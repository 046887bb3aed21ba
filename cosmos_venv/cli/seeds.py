"""The commands ``cosmos-venv seeds list`` and ``seeds forget``: what a DAG remembers of its seeds.

Airflow is imported only when one of them runs: other commands, and help, do not wait for it.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cosmos_venv.cli.output import Result
from cosmos_venv.cli.parsing import add_action, add_actions
from cosmos_venv.exceptions import CosmosValueError

if TYPE_CHECKING:
    from cosmos_venv.cli.parsing import Actions

    Seed = dict[str, str | None]


def add_to(subjects: Actions) -> None:
    """Add ``cosmos-venv seeds`` and its actions.

    :param subjects: the sub-commands of ``cosmos-venv``.
    """
    actions = add_actions(subjects, "seeds", "the seed state that DAGs keep between runs")
    listing = add_action(actions, "list", "list the seed state of a DAG", seeds_list)
    forget = add_action(actions, "forget", "delete seed state, so that the next run loads the seeds", seeds_forget)
    for action in (listing, forget):
        action.add_argument("dag_id", metavar="DAG", help="the id of a DAG")
    forget.add_argument("seed", metavar="SEED", nargs="?", help="only this one: its name, or dbt's unique id")


def seeds_list(options: argparse.Namespace) -> Result:
    """List the seed state that a DAG keeps with SeedRenderingBehavior.WHEN_SEED_CHANGES.

    That is the content that was loaded last, and the run that loaded it. Airflow's database is only read.
    Exit code 1: the database cannot be reached.

    :param options: the command line.
    """
    found = _seeds_of(options.dag_id)
    lines = [_line(each) for each in found] or [f"Nothing is remembered of seeds of the DAG {options.dag_id!r}."]
    return Result(data={"dag_id": options.dag_id, "seeds": found}, shown=lines)


def seeds_forget(options: argparse.Namespace) -> Result:
    """Delete the seed state of a DAG, for all seeds or for one, so that the next run loads them.

    That helps for example after a table was dropped. Exit code 1: there is no state of the named seed, or the database
    cannot be reached.

    :param options: the command line.
    """
    found = [each for each in _seeds_of(options.dag_id) if options.seed is None or _is_named(each, options.seed)]
    from cosmos_venv.compat import delete_variables

    delete_variables([str(each["key"]) for each in found])
    which = f"the DAG {options.dag_id!r}" if options.seed is None else f"{options.seed!r} of the DAG {options.dag_id!r}"
    lines = [f"{_line(each)}: forgotten" for each in found] or [f"Nothing was remembered of {which}."]
    data = {"dag_id": options.dag_id, "forgotten": found}
    return Result(data=data, shown=lines, is_wrong=not found and options.seed is not None)


def _seeds_of(dag_id: str) -> list[Seed]:
    """The seeds of a DAG, as JSON shows them. Raises CosmosValueError where Airflow's store cannot be read."""
    try:
        from cosmos_venv.compat import stored_variables
        from cosmos_venv.operators.seeds.seed_state import PREFIX, fields_of, readable

        stored = stored_variables(PREFIX)
    except Exception as error:  # whatever its database raises
        raise CosmosValueError(f"Airflow's Variables cannot be read: {type(error).__name__}: {error}") from error
    found = []
    for key, text in stored.items():
        # A value that a person has written may name no DAG; then the key begins with the DAG's id.
        fields = {"dag_id": dag_id if key.startswith(f"{readable(dag_id)}.") else None, **fields_of(text or "")}
        if fields["dag_id"] == dag_id:
            found.append(_seed(key, text))
    return found


def _seed(key: str, text: str | None) -> Seed:
    """The seed of a Variable. A field that the value lacks is None. Without checksum the next run loads it."""
    from cosmos_venv.operators.seeds.seed_state import decoded, fields_of

    fields, remembered = fields_of(text or ""), decoded(text)
    places = [fields.get("dag_id"), fields.get("group_id")]
    return {
        "key": key,
        "place": "/".join(str(each) for each in places if each) or None,
        "seed": str(fields["seed"]) if fields.get("seed") else None,
        "checksum": remembered.checksum if remembered else None,
        "run_id": remembered.run_id if remembered else None,
        "time": remembered.time if remembered else None,
    }


def _is_named(seed: Seed, name: str) -> bool:
    """Whether a name is the unique id of a seed, or its name alone. A bare checksum names no seed."""
    unique_id = seed["seed"]
    return unique_id is not None and name in (unique_id, unique_id.split(".", 2)[-1])


def _line(seed: Seed) -> str:
    what = f"{seed['place']}: {seed['seed']}" if seed["seed"] else seed["key"]
    if seed["checksum"] is None:
        return f"{what}, nothing certain: the next run loads it"
    run = f"run {seed['run_id']}, {seed['time']}" if seed["run_id"] else "no run named"
    return f"{what}, {seed['checksum'][:12]}…, {run}"
