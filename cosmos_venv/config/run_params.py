"""``RunParams``: the names of the DAG's params by which a run is told what to run, and how."""

from __future__ import annotations

from typing import Annotated

import msgspec

from cosmos_venv.exceptions import CosmosValueError

_Name = Annotated[str, msgspec.Meta(pattern=r"\S")]


class RunParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The names of the DAG's params by which each run is told what to run; None for a param that the DAG does not have.

    :param select: the name of the param with dbt's selection text of the nodes that run.
    :param exclude: the name of the param with dbt's selection text of the nodes that are left out.
    :param full_refresh: the name of the param with the boolean by which dbt gets ``--full-refresh``.
    :param vars: the name of the param with the object that overrides the project's ``dbt_vars``.
    """

    select: _Name | None = "select"
    exclude: _Name | None = "exclude"
    full_refresh: _Name | None = "full_refresh"
    vars: _Name | None = "vars"

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
        try:
            found = msgspec.convert(given, cls)
        except msgspec.ValidationError as error:
            own = ", ".join(cls.__struct_fields__)
            raise CosmosValueError(
                f"run_params={given!r}: {error}. Give True, or a dict of {own}, each with the name of its param, or "
                "with None for no param."
            ) from None
        names = [*found.names().values()]
        if len({*names}) < len(names):
            raise CosmosValueError(f"run_params={given!r} gives one name to two params. Give each its own.")
        return found if names else None

    @property
    def chooses(self) -> bool:
        """Whether a run may leave nodes out."""
        return bool(self.select or self.exclude)

    def names(self) -> dict[str, str]:
        """Purpose -> name of each param that the DAG has."""
        return {each: name for each, name in msgspec.structs.asdict(self).items() if name is not None}
