"""``RunParams``: the names of the DAG's params by which a run is told what to run, and how."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from cosmos_venv.exceptions import CosmosValueError


class RunParams(msgspec.Struct, frozen=True, kw_only=True):
    """The names of the DAG's params by which each run is told what to run; None for one that the DAG does not have.

    :param select: of dbt's selection text of the nodes that run.
    :param exclude: of dbt's selection text of what is left out of these.
    :param full_refresh: of the boolean by which dbt gets ``--full-refresh``.
    :param vars: of the object that goes over the project's ``dbt_vars``.
    """

    select: str | None = "select"
    exclude: str | None = "exclude"
    full_refresh: str | None = "full_refresh"
    vars: str | None = "vars"

    @classmethod
    def of(cls, given: object) -> RunParams | None:
        """The names of a ``run_params``; None where a DAG has none of these params.

        :param given: True; a mapping of some of the four to other names, or to None for one that is not wanted; False
            and None: no params.
        :raises CosmosValueError: for anything else, and for a name that stands for two of them.
        """
        if given is None or given is False:
            return None
        if given is True:
            return cls()
        own = cls.__struct_fields__
        if not isinstance(given, Mapping):
            raise CosmosValueError(
                f"run_params={given!r}: give True, or a dict that gives other names to {_joined(own)}."
            )
        for each, name in given.items():
            if each not in own:
                raise CosmosValueError(f"run_params names {each!r}, which is none of {_joined(own)}.")
            if name is not None and not (isinstance(name, str) and name.strip()):
                raise CosmosValueError(
                    f"run_params[{each!r}]={name!r}: give the name of a param, or None for no param."
                )
        found = cls(**given)
        names = [*found.names().values()]
        for name in names:
            if names.count(name) > 1:
                raise CosmosValueError(
                    f"run_params={given!r} gives the name {name!r} to two params. Give each its own."
                )
        return found if names else None

    @property
    def chooses(self) -> bool:
        """Whether a run may leave nodes out."""
        return bool(self.select or self.exclude)

    def names(self) -> dict[str, str]:
        """The name of each param that the DAG has, by what it is for."""
        return {each: name for each, name in msgspec.structs.asdict(self).items() if name is not None}


def _joined(names: tuple[str, ...]) -> str:
    return ", ".join(names)
