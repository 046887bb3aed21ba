"""How do the files of a project look that are not the author's own words: YAML, and dbt's own two files?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.projects.resource import YAML_KEYS, Resource


def yaml_text(document: Mapping[str, Any]) -> str:
    """As people write YAML: in the order given, characters as they are."""
    import yaml

    return str(yaml.safe_dump(_plain(document), sort_keys=False, allow_unicode=True))


def properties_text(resource: Resource) -> str:
    """The YAML file of one thing."""
    return yaml_text({"version": 2, YAML_KEYS[resource.kind]: [{"name": resource.name, **resource.properties}]})


def project_text(name: str, variables: Mapping[str, Any], configurations: Mapping[str, Mapping[str, Any]]) -> str:
    """``dbt_project.yml``.

    :param configurations: kind and folder (``models/staging``) -> configuration of all that lies there.
    """
    document: dict[str, Any] = {
        "name": name,
        "version": "1.0",
        "config-version": 2,
        "profile": name,
        "flags": {"send_anonymous_usage_stats": False},
    }
    if variables:
        document["vars"] = dict(variables)
    for folder, config in configurations.items():
        kind, *below = folder.split("/")
        place = document.setdefault(kind, {}).setdefault(name, {})
        for part in below:
            place = place.setdefault(part, {})
        place.update({f"+{key}": value for key, value in config.items()})
    return yaml_text(document)


def _plain(value: Any) -> Any:
    """Tuples and paths as YAML has them."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value
