"""What do ``var()`` and ``env_var()`` come to, where no dbt is asked?"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jinja2
import jinja2.sandbox
from jinja2 import nodes

from cosmos_venv.yaml_text import load_yaml

if TYPE_CHECKING:
    from cosmos_venv.project.custom.layout import Layout


class Unknown(Exception):
    """A value that only a running dbt knows."""


def variables_of(layout: Layout, package: str) -> dict[str, Any]:
    """Of a ``dbt_project.yml``: those for all, over them those for this package."""
    given = layout.content.get("vars")
    if not isinstance(given, dict):
        return {}
    own = given.get(package)
    return {**given, **(own if isinstance(own, dict) else {})}


def functions(variables: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Callable[..., Any]]:
    def var(name: str, *default: Any) -> Any:
        return _looked_up(variables, name, *default)

    def env_var(name: str, *default: Any) -> Any:
        return _looked_up(environment, name, *default)

    return {"var": var, "env_var": env_var}


def _looked_up(known: Mapping[str, Any], name: str, *default: Any) -> Any:
    if name in known:
        return known[name]
    if default:
        return default[0]
    raise Unknown


class _Sandbox(jinja2.sandbox.SandboxedEnvironment):
    """Multiplies numbers alone: ``9**9**9`` and ``'a' * 10**9`` do not end."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002 - Jinja's
        if operator == "*" and isinstance(left, int | float) and isinstance(right, int | float):
            return left * right
        raise Unknown


def renderer(variables: Mapping[str, object], environment: Mapping[str, str]) -> Callable[[str], Any]:
    """For texts in YAML: those with Jinja come to what ``var`` and ``env_var`` make of them."""
    jinja = _Sandbox(undefined=jinja2.StrictUndefined)
    known = functions(variables, {**os.environ, **environment})

    def render(text: str) -> Any:
        if "{{" not in text and "{%" not in text:
            return text
        try:
            if jinja.parse(text).find(nodes.For):  # loops in loops take as long as they like
                raise Unknown
            return load_yaml(jinja.from_string(text).render(**known))
        except Exception as error:
            raise Unknown from error

    return render
