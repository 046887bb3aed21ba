"""Airflow operators, one per dbt command and execution mode. A name without a mode stands for the local operator.

The names are imported on first use, as the names of the package itself are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmos_venv.public_names import name_lookup

if TYPE_CHECKING:
    from cosmos_venv.operators.local import DbtBuildLocalOperator as DbtBuildOperator
    from cosmos_venv.operators.local import DbtDepsLocalOperator as DbtDepsOperator
    from cosmos_venv.operators.local import DbtDocsAzureStorageLocalOperator as DbtDocsAzureStorageOperator
    from cosmos_venv.operators.local import DbtDocsGCSLocalOperator as DbtDocsGCSOperator
    from cosmos_venv.operators.local import DbtDocsLocalOperator as DbtDocsOperator
    from cosmos_venv.operators.local import DbtDocsS3LocalOperator as DbtDocsS3Operator
    from cosmos_venv.operators.local import DbtLSLocalOperator as DbtLSOperator
    from cosmos_venv.operators.local import DbtRunLocalOperator as DbtRunOperator
    from cosmos_venv.operators.local import DbtRunOperationLocalOperator as DbtRunOperationOperator
    from cosmos_venv.operators.local import DbtSeedLocalOperator as DbtSeedOperator
    from cosmos_venv.operators.local import DbtSnapshotLocalOperator as DbtSnapshotOperator
    from cosmos_venv.operators.local import DbtTestLocalOperator as DbtTestOperator

__all__ = [
    "DbtBuildOperator",
    "DbtDepsOperator",
    "DbtDocsAzureStorageOperator",
    "DbtDocsGCSOperator",
    "DbtDocsOperator",
    "DbtDocsS3Operator",
    "DbtLSOperator",
    "DbtRunOperationOperator",
    "DbtRunOperator",
    "DbtSeedOperator",
    "DbtSnapshotOperator",
    "DbtTestOperator",
]

if not TYPE_CHECKING:
    __getattr__ = name_lookup(
        __name__,
        {
            **{name: f"{__name__}.local:{name.replace('Operator', 'LocalOperator')}" for name in __all__},
            "local": f"{__name__}.local:",  # there after `import cosmos`, too
        },
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
