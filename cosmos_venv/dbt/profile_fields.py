"""The fields of a target in ``profiles.yml`` as dbt reads them, ``env_var()`` included.

A field is rendered when it is asked for: most hold nothing that anybody but dbt may see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.limits import read_file
from cosmos_venv.yaml_text import load_yaml


def profile_fields(
    profiles_yml: Path, *, profile: str, target: str, environment: Mapping[str, str]
) -> Callable[[str], Any]:
    """A function that gives a field of that target by its name, None where there is none.

    :param environment: what ``env_var()`` sees.
    :raises CosmosValueError: when the file has no such profile or target; from the function, when a field cannot be
        rendered.
    """
    found = load_yaml(read_file(profiles_yml).decode())
    for key in (profile, "outputs", target):
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise CosmosValueError(f"{profiles_yml.name} has no target {target!r} in a profile {profile!r}")
    fields: dict[str, Any] = found

    def field(name: str) -> Any:
        value = fields.get(name)
        return _rendered(name, value, environment) if isinstance(value, str) and "{" in value else value

    return field


def _rendered(name: str, template: str, environment: Mapping[str, str]) -> str:
    import jinja2

    from cosmos_venv.jinja_values import JINJA, VALUE_ERRORS, Unknown, value_of

    def env_var(variable: str, default: str | None = None) -> str:
        value = environment.get(variable, default)
        if value is None:
            raise CosmosValueError(f"{name} of the profile needs the environment variable {variable}, which is not set")
        return value

    try:
        return str(value_of(JINJA.parse(template), {"env_var": env_var}))
    except Unknown:
        raise CosmosValueError(f"{name} of the profile is {template!r}, which is worked out by dbt alone") from None
    except CosmosValueError:
        raise
    except (jinja2.TemplateError, *VALUE_ERRORS) as error:
        raise CosmosValueError(f"{name} of the profile cannot be rendered: {error}") from error
