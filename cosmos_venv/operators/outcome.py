"""What does a task keep and tell of its dbt? Rendered fields, uploaded SQL, an XCom, the user's callbacks.

All of it happens while the folder in which dbt ran is still there, after a failed dbt too.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv import settings
from cosmos_venv.compat import show_rendered_fields
from cosmos_venv.dbt.results import Artifacts, warnings_in
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators.arguments import callables
from cosmos_venv.operators.asset_alias import require_alias
from cosmos_venv.operators.lineage import tell_of_assets
from cosmos_venv.operators.openlineage import note_events

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.operators.local_run import LocalRun


def require_place_for(operator: LocalRun) -> None:
    """Before dbt runs: see that what comes of it can be kept and told.

    :raises CosmosValueError: when its SQL is to be uploaded and nothing says where to.
    :raises AirflowCompatibilityError: when this Airflow cannot take assets as the settings want it.
    """
    if operator.should_upload_compiled_sql and not settings.remote_target_path:
        raise CosmosValueError(
            "should_upload_compiled_sql=True, and [cosmos] remote_target_path is not set: it says where compiled SQL "
            "goes, such as s3://bucket/dbt. Set it, or leave the parameter out."
        )
    require_alias(operator)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one dbt command, in the hands of the operator that ran it.

    :param place: the folder in which dbt ran.
    :param profiles_yml: the profile with which it ran.
    :param env: its environment variables, the profile's secrets among them.
    :param pushes_run_results: also where the operator's own parameter does not say so.
    """

    operator: LocalRun
    context: Context | Mapping[str, Any]
    place: Path
    artifacts: Artifacts
    profiles_yml: Path
    env: Mapping[str, str] = field(repr=False)
    pushes_run_results: bool = False

    def tell(self, *, failed: bool) -> None:
        """Do everything that the operator's parameters ask for.

        :param failed: dbt has failed: what goes wrong here is a warning then, and never hides dbt's own error.
        """
        note_events(self)
        if not failed:
            tell_of_assets(self)
        for step in self._steps():
            try:
                step()
            except Exception as error:
                if not failed:
                    raise
                self.operator.log.warning("After dbt had failed: %s: %s", type(error).__name__, error)

    def tell_of_warnings(self, lines: Sequence[str]) -> None:
        """Call the operator's ``on_warning_callback`` with the nodes that have warned.

        :param lines: dbt's output, for where it wrote no artifacts.
        """
        given = getattr(self.operator, "on_warning_callback", None)
        if given is None:
            return
        nodes = self.artifacts.warnings()
        nodes = warnings_in(lines) if nodes is None else nodes
        if not nodes and not self.operator.calls_back_without_warnings:
            return
        told = dict(self.context) | {
            "test_names": [node.name for node in nodes],
            "test_results": [node.message for node in nodes],
        }
        for callback in callables("on_warning_callback", given):
            callback(told)

    def _steps(self) -> Iterator[Callable[[], None]]:
        if self.operator.should_store_compiled_sql:
            yield self._show
        if self._uploads():
            yield self._upload
        if self.pushes_run_results or self.operator.push_run_results_to_xcom:
            yield self._push_run_results
        given: Any = self.operator.callback
        for callback in given if isinstance(given, list | tuple) else [given]:
            yield partial(self._call, callback)

    def _show(self) -> None:
        try:
            found = {"compiled_sql": self.artifacts.compiled_sql(), "freshness": self.artifacts.freshness()}
            if any(found.values()):
                vars(self.operator).update(found)
                show_rendered_fields(self.operator, self.context)
        except Exception:
            # Nobody has asked for it, and dbt has done its work.
            self.operator.log.warning("Compiled SQL cannot be shown among the rendered fields.", exc_info=True)

    def _uploads(self) -> bool:
        wanted = self.operator.should_upload_compiled_sql
        if wanted is not None:
            return wanted
        # dbt compile is run for its SQL; without a place to go to it stays in the rendered fields.
        return self.operator.base_cmd == ("compile",) and bool(settings.remote_target_path)

    def _upload(self) -> None:
        from cosmos_venv.io import upload_compiled_sql

        upload_compiled_sql(self.artifacts, self.context, report=self.operator.log.info)

    def _push_run_results(self) -> None:
        text = self.artifacts.text("run_results.json")
        if text is None:  # dbt ls and source freshness never do, nor does any command with write_json=False
            command = " ".join(self.operator.base_cmd)
            self.operator.log.info("dbt %s has written no run_results.json: nothing is pushed as XCom.", command)
            return
        self.context["ti"].xcom_push(key="run_results", value=base64.b64encode(zlib.compress(text.encode())).decode())

    def _call(self, given: Callable[..., object] | str | None) -> None:
        for callback in callables("callback", given):
            self.operator.log.info("Calling %s", getattr(callback, "__qualname__", callback))
            callback(str(self.place), **{**self.operator.callback_args, "context": self.context})
