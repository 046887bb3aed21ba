"""What do ``cosmos-venv seeds list`` and ``forget`` do? Show what a DAG remembers of its seeds, and make it forget."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from cosmos_venv.cli.env_store import OK, WRONG, print_lines
from cosmos_venv.cli.output import only_the_result_on_stdout
from cosmos_venv.operators.seed_memory import PREFIX, decoded, fields_of, readable


@dataclass(frozen=True, kw_only=True)
class StoredSeed:
    """One Variable of a seed.

    :param place: the DbtDag (``harbor``) or DbtTaskGroup (``port/north``); None where the value does not say it.
    :param seed: dbt's unique id; None likewise.
    :param checksum: None: the next run loads the seed.
    """

    key: str
    place: str | None
    seed: str | None
    checksum: str | None
    run_id: str | None
    time: str | None

    @classmethod
    def of(cls, key: str, text: str | None) -> StoredSeed:
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
        """Whether it is that seed: by its unique id, or by its name alone."""
        if self.seed is None:
            shown = readable(name.rpartition(".")[2]).removeprefix(PREFIX)
            return self.key.rpartition("__")[0].endswith((f".{shown}", f"__{shown}"))
        return name in (self.seed, self.seed.split(".", 2)[-1])

    @property
    def line(self) -> str:
        what = f"{self.place}: {self.seed}" if self.seed else self.key
        if self.checksum is None:
            return f"{what}, nothing certain: the next run loads it"
        return f"{what}, {self.checksum[:12]}…, {f'run {self.run_id}, {self.time}' if self.run_id else 'no run named'}"


def seeds_list(dag_id: str, *, as_json: bool) -> int:
    """Show what is remembered of the seeds of a DAG. Returns the exit code."""
    found = _found(dag_id, None)
    if found is None:
        return WRONG
    if as_json:
        print(json.dumps({"dag_id": dag_id, "seeds": [vars(each) for each in found]}, indent=2))
    else:
        print_lines([each.line for each in found] or [f"Nothing is remembered of seeds of the DAG {dag_id!r}."])
    return OK


def seeds_forget(dag_id: str, seed: str | None, *, as_json: bool) -> int:
    """Forget the seeds of a DAG, or one of them: the next run loads them. Returns the exit code.

    :param seed: its unique id or its name; None: all of the DAG.
    """
    found = _found(dag_id, seed)
    if found is None:
        return WRONG
    with only_the_result_on_stdout():
        from cosmos_venv.compat import delete_variables

        delete_variables([each.key for each in found])
    which = f"the DAG {dag_id!r}" if seed is None else f"{seed!r} of the DAG {dag_id!r}"
    if as_json:
        print(json.dumps({"dag_id": dag_id, "forgotten": [vars(each) for each in found]}, indent=2))
    else:
        print_lines([f"{each.line}: forgotten" for each in found] or [f"Nothing was remembered of {which}."])
    return OK if found or seed is None else WRONG


def _found(dag_id: str, seed: str | None) -> list[StoredSeed] | None:
    """Those of the DAG; None where Airflow's store cannot be read, which is told."""
    try:
        with only_the_result_on_stdout():
            from cosmos_venv.compat import stored_variables

            stored: Mapping[str, str | None] = stored_variables(PREFIX)
    except Exception as error:  # noqa: BLE001 - whatever its database raises
        talk = Console(stderr=True, highlight=False, soft_wrap=True)
        talk.print(f"Airflow's Variables cannot be read: {type(error).__name__}: {error}", style="red", markup=False)
        return None
    of_dag = [StoredSeed.of(key, text) for key, text in stored.items() if _is_of(dag_id, key, text)]
    return [each for each in of_dag if seed is None or each.is_named(seed)]


def _is_of(dag_id: str, key: str, text: str | None) -> bool:
    """By what the value says; where it says nothing, as one that a person has written, by the look of its key."""
    fields: dict[str, Any] = fields_of(text or "")
    return bool(fields["dag_id"] == dag_id) if "dag_id" in fields else key.startswith(f"{readable(dag_id)}.")
