"""The commands ``cosmos-venv seeds list`` and ``seeds forget``: what a DAG remembers of its seeds.

Airflow is imported only when one of them runs: other commands, and help, do not wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cosmos_venv.cli.output import OK, WRONG, only_the_result_on_stdout, print_json, print_lines
from cosmos_venv.cli.parsing import add_action, add_actions
from cosmos_venv.exceptions import CosmosValueError

if TYPE_CHECKING:
    from cosmos_venv.cli.parsing import Actions

_LIST = (
    "Lists the seed state that a DAG keeps with SeedRenderingBehavior.WHEN_SEED_CHANGES: the content that was loaded "
    "last, and the run that loaded it. Reads Airflow's database and changes nothing. Exit code 1: the database cannot "
    "be reached."
)
_FORGET = (
    "Deletes the seed state of a DAG, for all seeds or for one, so that the next run loads them: for example after a "
    "table was dropped. Exit code 1: there is no state of the named seed, or the database cannot be reached."
)


def add_to(subjects: Actions) -> None:
    """Add ``cosmos-venv seeds`` and its actions.

    :param subjects: the sub-commands of ``cosmos-venv``.
    """
    actions = add_actions(subjects, "seeds", "the seed state that DAGs keep between runs")
    listing = add_action(actions, "list", "list the seed state of a DAG", _LIST)
    forget = add_action(actions, "forget", "delete seed state, so that the next run loads the seeds", _FORGET)
    for action in (listing, forget):
        action.add_argument("dag_id", metavar="DAG", help="the id of a DAG")
    forget.add_argument("seed", metavar="SEED", nargs="?", help="only this one: its name, or dbt's unique id")
    listing.set_defaults(run=lambda options: seeds_list(options.dag_id, as_json=options.json))
    forget.set_defaults(run=lambda options: seeds_forget(options.dag_id, options.seed, as_json=options.json))


@dataclass(frozen=True, kw_only=True)
class StoredSeed:
    """One Variable of a seed.

    :param key: name of the Variable.
    :param seed: dbt's unique id; None where the value does not say it.
    :param checksum: SHA-256 of the content that was loaded; None: the next run loads the seed.
    :param place: the DbtDag (``harbor``) or DbtTaskGroup (``port/north``); None where the value does not say it.
    :param run_id: id of the DAG run that has loaded it; None where the value does not say it.
    :param time: when that was, as ISO 8601; None where the value does not say it.
    """

    key: str
    place: str | None
    seed: str | None
    checksum: str | None
    run_id: str | None
    time: str | None

    @classmethod
    def of(cls, key: str, text: str | None) -> StoredSeed:
        """Return the seed of a Variable.

        :param key: name of the Variable.
        :param text: its value; None: it has none.
        """
        from cosmos_venv.operators.seeds.seed_state import decoded, fields_of

        fields, remembered = fields_of(text or ""), decoded(text)
        places = [fields.get("dag_id"), fields.get("group_id")]
        return cls(
            key=key,
            place="/".join(str(each) for each in places if each) or None,
            seed=str(fields["seed"]) if fields.get("seed") else None,
            checksum=remembered.checksum if remembered else None,
            run_id=remembered.run_id if remembered else None,
            time=remembered.time if remembered else None,
        )

    def is_named(self, name: str) -> bool:
        """Return whether this is the seed of a name: its unique id, or its name alone. A bare checksum names no seed.

        :param name: a word of the command line.
        """
        return self.seed is not None and name in (self.seed, self.seed.split(".", 2)[-1])

    @property
    def line(self) -> str:
        """Return the seed as a line to read."""
        what = f"{self.place}: {self.seed}" if self.seed else self.key
        if self.checksum is None:
            return f"{what}, nothing certain: the next run loads it"
        return f"{what}, {self.checksum[:12]}…, {f'run {self.run_id}, {self.time}' if self.run_id else 'no run named'}"


def seeds_list(dag_id: str, *, as_json: bool) -> int:
    """Show what is remembered of the seeds of a DAG.

    :param dag_id: of the DAG.
    :param as_json: whether stdout gets JSON in place of lines to read.
    :returns: the exit code.
    """
    found = _found(dag_id, None)
    if as_json:
        print_json({"dag_id": dag_id, "seeds": [vars(each) for each in found]})
    else:
        print_lines([each.line for each in found] or [f"Nothing is remembered of seeds of the DAG {dag_id!r}."])
    return OK


def seeds_forget(dag_id: str, seed: str | None, *, as_json: bool) -> int:
    """Forget the seeds of a DAG, or one of them: the next run loads them.

    :param dag_id: of the DAG.
    :param seed: its unique id or its name; None: all of the DAG.
    :param as_json: whether stdout gets JSON in place of lines to read.
    :returns: the exit code.
    """
    found = _found(dag_id, seed)
    with only_the_result_on_stdout():
        from cosmos_venv.compat import delete_variables

        delete_variables([each.key for each in found])
    which = f"the DAG {dag_id!r}" if seed is None else f"{seed!r} of the DAG {dag_id!r}"
    if as_json:
        print_json({"dag_id": dag_id, "forgotten": [vars(each) for each in found]})
    else:
        print_lines([f"{each.line}: forgotten" for each in found] or [f"Nothing was remembered of {which}."])
    return OK if found or seed is None else WRONG


def _found(dag_id: str, seed: str | None) -> list[StoredSeed]:
    """The kept checksums of the DAG. Raises CosmosValueError where Airflow's store cannot be read."""
    try:
        with only_the_result_on_stdout():
            from cosmos_venv.compat import stored_variables
            from cosmos_venv.operators.seeds.seed_state import PREFIX

            stored: Mapping[str, str | None] = stored_variables(PREFIX)
    except Exception as error:  # whatever its database raises
        raise CosmosValueError(f"Airflow's Variables cannot be read: {type(error).__name__}: {error}") from error
    of_dag = [StoredSeed.of(key, text) for key, text in stored.items() if _is_of(dag_id, key, text)]
    return [each for each in of_dag if seed is None or each.is_named(seed)]


def _is_of(dag_id: str, key: str, text: str | None) -> bool:
    """By what the value says; where it says nothing, as one that a person has written, by the look of its key."""
    from cosmos_venv.operators.seeds.seed_state import fields_of, readable

    fields: dict[str, Any] = fields_of(text or "")
    return bool(fields["dag_id"] == dag_id) if "dag_id" in fields else key.startswith(f"{readable(dag_id)}.")
