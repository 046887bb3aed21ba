"""Does Airflow look into the file at all? In safe mode only where two words occur, in code or in a comment.

:source: Airflow's ``airflow.utils.file.might_contain_dag``; 3.3 takes ``asset`` for ``dag`` too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from cosmos_venv.cli.doctor.finding import Examined, Finding, Outcome

_CHECK = "discovery"
_WORDS = ("airflow", "dag")
_PACKAGE = __name__.partition(".")[0]
_MAKERS = {"DbtDag", "DbtTaskGroup", "*"}


def airflow_finds_the_file(examined: Examined) -> Iterator[Finding]:
    """A finding for each file: failed where it makes a dbt DAG and lacks a word that Airflow looks for, or cannot be
    read."""
    from cosmos_venv.compat import looks_for_words

    looks = looks_for_words()
    for path in examined.files:
        if not looks:
            yield _finding(path, "Airflow looks into every file.")
            continue
        try:
            content = path.read_bytes()
            makes_dags = _makes_dags(content)
        except (OSError, SyntaxError, ValueError) as error:
            yield _finding(path, f"cannot be read as Python: {error}.", "Correct it.")
            continue
        missing = [word for word in _WORDS if word.encode() not in content.lower()]
        if makes_dags and missing:
            words = " and ".join(repr(word) for word in missing) + (" does" if len(missing) == 1 else " do")
            yield _finding(
                path,
                f"Airflow passes the file over, because {words} not occur in it.",
                "Write a comment such as `# an airflow dag`, or set [core] dag_discovery_safe_mode = False.",
            )
        else:
            yield _finding(path, "Airflow looks into it." if not missing else "It makes no dbt DAG.")


def _finding(path: Path, text: str, way_out: str = "") -> Finding:
    outcome: Outcome = "failed" if way_out else "ok"
    return Finding(check=_CHECK, subject=str(path), outcome=outcome, text=text, way_out=way_out)


def _makes_dags(content: bytes) -> bool:
    """Whether a class that makes DAGs or parts of them is taken from here."""
    nodes = list(ast.walk(ast.parse(content)))
    imports_us = any(
        isinstance(node, ast.Import) and any(alias.name.partition(".")[0] == _PACKAGE for alias in node.names)
        for node in nodes
    )
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            is_ours = (node.module or "").partition(".")[0] == _PACKAGE
            if is_ours and _MAKERS & {alias.name for alias in node.names}:
                return True
        elif imports_us and isinstance(node, ast.Attribute) and node.attr in _MAKERS:
            return True
    return False
