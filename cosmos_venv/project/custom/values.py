"""The variables of a project's files where no dbt is asked: what ``var()`` and ``env_var()`` come to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.jinja_values import JINJA, Unknown, value_of
from cosmos_venv.yaml_text import load_yaml

if TYPE_CHECKING:
    from cosmos_venv.project.custom.layout import Layout

MOST_LOOKED_UP = 8_000_000
"""Characters that ``var()`` and ``env_var()`` come to in one project: a short text may ask for a long value often."""

_MISSING = object()


def variables_of(layout: Layout, package: str) -> dict[str, Any]:
    """Of a ``dbt_project.yml``: those for all, over them those for this package."""
    given = layout.content.get("vars")
    if not isinstance(given, dict):
        return {}
    own = given.get(package)
    return {**given, **(own if isinstance(own, dict) else {})}


class LookUps:
    """Counts what the variables of one project come to."""

    def __init__(self) -> None:
        self._left = MOST_LOOKED_UP

    def functions(self, variables: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Callable[..., Any]]:
        """``var`` and ``env_var``, by their names.

        Each raises ``Unknown`` where there is no such variable and no default, and CosmosLoadDbtException where all of
        them together come to more than ``MOST_LOOKED_UP``.
        """

        def var(name: str, default: Any = _MISSING) -> Any:
            return self._looked_up(variables, name, default)

        def env_var(name: str, default: Any = _MISSING) -> Any:
            return self._looked_up(environment, name, default)

        return {"var": var, "env_var": env_var}

    def _looked_up(self, known: Mapping[str, Any], name: str, default: Any) -> Any:
        value = known.get(name, default)
        if value is _MISSING:
            raise Unknown
        self._left -= len(str(value))
        if self._left < 0:
            raise CosmosLoadDbtException(
                f"The values of var() and env_var() in the project's files come to more than {MOST_LOOKED_UP:,} "
                "characters. Load the project by dbt ls or manifest."
            )
        return value


def renderer(
    variables: Mapping[str, object], environment: Mapping[str, str], look_ups: LookUps
) -> Callable[[str], Any]:
    """For texts in YAML: those with Jinja come to what is worked out here, others to themselves."""
    known = look_ups.functions(variables, {**os.environ, **environment})

    def render(text: str) -> Any:
        if "{{" not in text and "{%" not in text:
            return text
        try:
            return load_yaml(value_of(JINJA.parse(text), known))
        except CosmosLoadDbtException:
            raise
        except Exception as error:
            raise Unknown from error

    return render
