"""The task that waits until the sources of a project are fresh.

dbt runs in the worker, once for each check. Between two checks the task holds no worker, unless ``mode="poke"`` is
given: Airflow reschedules the task, or the task is deferred with Airflow's own time trigger.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.configuration import conf

from cosmos_venv import compat
from cosmos_venv.compat import AirflowRescheduleException, AirflowSensorTimeout, BaseSensorOperator, PokeReturnValue
from cosmos_venv.exceptions import CosmosValueError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.dbt.results import Artifacts
    from cosmos_venv.operators.run.dbt_run import DbtResult

_RESUMES = "execute_complete"


class DbtSourceFreshnessMixin:
    """``dbt source freshness`` until no source is stale, as a sensor of Airflow.

    :ivar deferrable: whether it waits in the triggerer; the default is ``[operators] default_deferrable``. False: it
        waits as Airflow's ``mode`` says; the default is ``reschedule``.
    :ivar warn_is_fresh: whether a source counts as fresh when dbt warns about it.
    """

    own_parameters: ClassVar[Mapping[str, Any]] = {
        "deferrable": conf.getboolean("operators", "default_deferrable", fallback=False),
        "warn_is_fresh": True,
    }
    deferrable: bool
    warn_is_fresh: bool
    #: when the present try has begun to wait, in seconds since 1970; counts only where the task is deferred.
    _began: float
    #: the result of the last check, by unique id of the source.
    _found: Mapping[str, Any]

    @classmethod
    def take_own_parameters(cls, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """This command's own parameters, and the rest, with ``mode="reschedule"`` where no mode is given.

        :param arguments: the arguments that no constructor has taken, by name.
        :returns: as ``AbstractDbtBase`` does.
        :raises CosmosValueError: when ``deferrable`` or ``warn_is_fresh`` is no boolean.
        """
        own, rest = super().take_own_parameters(arguments)  # type: ignore[misc]
        for name in DbtSourceFreshnessMixin.own_parameters:
            if not isinstance(own[name], bool):  # the text "False" would count as True
                raise CosmosValueError(f"{name}={own[name]!r} of {cls.__name__}: give True or False.")
        # In this mode Airflow's loop raises AirflowRescheduleException; a deferrable task then defers to a trigger.
        if own["deferrable"] or "mode" not in {**(rest.get("default_args") or {}), **rest}:
            rest["mode"] = "reschedule"
        return own, rest

    def _execute(self, context: Context, **kwargs: Any) -> Any:
        """Check the sources, and wait while a source is stale.

        :param context: Airflow's context of the task.
        :param **kwargs: not used.
        :returns: the result of each source, by unique id: ``max_loaded_at``, ``age_seconds`` and ``status``.
        :raises AirflowSensorTimeout: when a source is stale after ``timeout``.
        :raises AirflowException: when dbt cannot tell how old a source is; the text is dbt's message.
        """
        return self._look(context, began=time.time())

    def execute_complete(
        self, context: Context, event: object = None, *, began: float = 0.0, try_number: int = 0
    ) -> Any:
        """Check once more, after the trigger.

        :param context: Airflow's context of the task.
        :param event: of the trigger; not used.
        :param began: when this try has begun to wait, in seconds since 1970.
        :param try_number: of the try that was deferred.
        """
        # Airflow 3.0 resumes a retry with the arguments of the try before.
        is_same_try = try_number == context["ti"].try_number
        return self._look(context, began=began if is_same_try else time.time())

    def _look(self, context: Context, *, began: float) -> Any:
        task: Any = self
        self._began = began
        try:
            # Airflow's own loop, with soft_fail and the like. Unwrapped: Airflow warns when one execute calls another.
            return inspect.unwrap(BaseSensorOperator.execute)(task, context)
        except AirflowRescheduleException:
            if not self.deferrable:
                raise
        seconds = compat.next_poke_interval(task, began)
        task.defer(
            trigger=compat.time_trigger(seconds),
            method_name=_RESUMES,
            kwargs={"began": began, "try_number": context["ti"].try_number},
        )
        return None  # not reached: defer() raises

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Run dbt once.

        :param context: Airflow's context of the task.
        :returns: whether all sources are fresh; if so, with the result of each source.
        """
        from cosmos_venv.operators.run.source_freshness import SourcesAreStale

        task: Any = self
        try:
            task._run_dbt(context)
        except SourcesAreStale as stale:
            # Airflow counts the timeout from the begin of this process, which is too late after a deferral.
            if self.deferrable and (waited := time.time() - self._began) > task.timeout:
                raise AirflowSensorTimeout(
                    f"{stale} Waited for {waited:.0f} s, timeout is {task.timeout:.0f} s."
                ) from None
            task.log.info("%s", stale)
            return False
        return PokeReturnValue(is_done=True, xcom_value=self._found)

    def _judge(self, result: DbtResult, artifacts: Artifacts) -> None:
        from cosmos_venv.operators.run.source_freshness import judge

        self._found = judge(self, result, artifacts)
