"""dbt commands on the worker itself: each a command of ``base`` and the way to run it of ``local_base``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from cosmos_venv.compat import let_map
from cosmos_venv.constants import ONLY_IF_CHANGED
from cosmos_venv.operators.base import (
    DbtBuildMixin,
    DbtCloneMixin,
    DbtCompileMixin,
    DbtLSMixin,
    DbtRunMixin,
    DbtRunOperationMixin,
    DbtSeedMixin,
    DbtSnapshotMixin,
    DbtSourceMixin,
    DbtTestMixin,
)
from cosmos_venv.operators.docs import (
    DbtDocsAzureStorageLocalOperator,
    DbtDocsCloudLocalOperator,
    DbtDocsGCSLocalOperator,
    DbtDocsLocalOperator,
    DbtDocsS3LocalOperator,
)
from cosmos_venv.operators.local_base import DbtLocalBaseOperator
from cosmos_venv.public_names import name_lookup

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.dbt.process import FullOutputSubprocessResult

__all__ = [
    "AbstractDbtLocalBase",
    "DbtBuildLocalOperator",
    "DbtCloneLocalOperator",
    "DbtCompileLocalOperator",
    "DbtDocsAzureStorageLocalOperator",
    "DbtDocsCloudLocalOperator",
    "DbtDocsGCSLocalOperator",
    "DbtDocsLocalOperator",
    "DbtDocsS3LocalOperator",
    "DbtLSLocalOperator",
    "DbtLocalBaseOperator",
    "DbtRunLocalOperator",
    "DbtRunOperationLocalOperator",
    "DbtSeedLocalOperator",
    "DbtSnapshotLocalOperator",
    "DbtSourceLocalOperator",
    "DbtTestLocalOperator",
]


AbstractDbtLocalBase = DbtLocalBaseOperator


class DbtBuildLocalOperator(DbtBuildMixin, DbtLocalBaseOperator):
    """``dbt build`` on the worker.

    Parameters of its own: ``full_refresh``, a boolean or a template of one; ``log_format``, such as ``json``;
    ``on_warning_callback``, called with the context, ``test_names`` and ``test_results`` after dbt has succeeded.
    """


class DbtLSLocalOperator(DbtLSMixin, DbtLocalBaseOperator):
    """``dbt ls`` on the worker."""


class DbtSeedLocalOperator(DbtSeedMixin, DbtLocalBaseOperator):
    """``dbt seed`` on the worker. Parameter of its own: ``full_refresh``, a boolean or a template of one.

    Rendered with SeedRenderingBehavior.WHEN_SEED_CHANGES, it runs dbt only for content that it has not loaded last.
    """

    def run_command(
        self, cmd: list[str], env: dict[str, str], context: Context | Mapping[str, Any], **kwargs: Any
    ) -> FullOutputSubprocessResult:
        run = partial(super().run_command, cmd, env, context, **kwargs)
        if not context.get(ONLY_IF_CHANGED):
            return run()
        from cosmos_venv.operators.seeds import run_if_changed  # other tasks need nothing of it

        return run_if_changed(self, cmd, env, dict(context), run)


class DbtSnapshotLocalOperator(DbtSnapshotMixin, DbtLocalBaseOperator):
    """``dbt snapshot`` on the worker."""


class DbtSourceLocalOperator(DbtSourceMixin, DbtLocalBaseOperator):
    """``dbt source freshness`` on the worker. Parameter of its own: ``on_warning_callback``, as for ``dbt build``."""


class DbtRunLocalOperator(DbtRunMixin, DbtLocalBaseOperator):
    """``dbt run`` on the worker. Parameter of its own: ``full_refresh``, a boolean or a template of one."""


class DbtTestLocalOperator(DbtTestMixin, DbtLocalBaseOperator):
    """``dbt test`` on the worker.

    Parameter of its own: ``on_warning_callback``, as for ``dbt build``, but called only when a test has warned.
    """


class DbtRunOperationLocalOperator(DbtRunOperationMixin, DbtLocalBaseOperator):
    """``dbt run-operation`` on the worker.

    Parameters of its own: ``macro_name``, required, and ``args``, a dict or YAML text, which may be templates.
    """


class DbtCompileLocalOperator(DbtCompileMixin, DbtLocalBaseOperator):
    """``dbt compile`` on the worker."""


class DbtCloneLocalOperator(DbtCloneMixin, DbtLocalBaseOperator):
    """``dbt clone`` on the worker. Parameter of its own: ``full_refresh``, a boolean or a template of one."""


for _operator in (
    *(DbtBuildLocalOperator, DbtCloneLocalOperator, DbtDocsCloudLocalOperator, DbtRunLocalOperator),
    *(DbtRunOperationLocalOperator, DbtSeedLocalOperator, DbtSourceLocalOperator, DbtTestLocalOperator),
):
    let_map(_operator, _operator.own_parameters)

if not TYPE_CHECKING:
    __getattr__ = name_lookup(__name__)
