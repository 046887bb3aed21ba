"""Whether Airflow looks into a DAG file: in safe mode it reads a file only where two words occur in it.

:source: Airflow's ``airflow.utils.file.might_contain_dag``; 3.3 takes ``asset`` for ``dag`` too.
"""

from __future__ import annotations

import ast

FIND_IT = "Write a comment such as `# an airflow dag`, or set [core] dag_discovery_safe_mode = False."
"""The way out for a file that Airflow passes over."""

_WORDS = ("airflow", "dag")
_PACKAGES = {__name__.partition(".")[0], "cosmos"}
_MAKERS = {"DbtDag", "DbtTaskGroup", "*"}


def why_passed_over(content: bytes) -> str:
    """Return a sentence that says why Airflow's safe mode passes a DAG file over; empty where it does not.

    :param content: of the file.
    """
    missing = [repr(word) for word in _WORDS if word.encode() not in content.lower()]
    if not missing:
        return ""
    verb = "does" if len(missing) == 1 else "do"
    return f"Airflow passes the file over, because {' and '.join(missing)} {verb} not occur in it."


def makes_dbt_dags(content: bytes) -> bool:
    """Return whether a file imports a class that makes DAGs or parts of them, from here or from Cosmos.

    :param content: of the file.
    :raises SyntaxError: when it is no Python.
    :raises ValueError: when Python cannot parse it for another reason, such as a null byte.
    """
    nodes = list(ast.walk(ast.parse(content)))
    is_imported = any(
        isinstance(node, ast.Import) and any(alias.name.partition(".")[0] in _PACKAGES for alias in node.names)
        for node in nodes
    )
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            is_named = (node.module or "").partition(".")[0] in _PACKAGES
            if is_named and _MAKERS & {alias.name for alias in node.names}:
                return True
        elif is_imported and isinstance(node, ast.Attribute) and node.attr in _MAKERS:
            return True
    return False
