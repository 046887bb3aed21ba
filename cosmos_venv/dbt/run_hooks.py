"""The hooks ``on-run-start`` and ``on-run-end`` of a project as two macros, so that they run once for a run of a DAG.

dbt runs the hooks in ``dbt_project.yml`` with each command. In the workspaces of a DAG with ``run_hooks_once``, the
file has none, and a macro runs the hooks of either kind. The file and the macros are the same for all tasks of the DAG:
otherwise dbt would parse the project anew. Only the macro with the results differs, where ``on-run-end`` runs.

dbt prepares hooks in two ways that ``dbt run-operation`` lacks. It makes the schemas first; the macro of
``on-run-start`` makes the schema of the target. It puts ``results`` into the context of all macros; the macro of
``on-run-end`` does so with dbt 1, while dbt 2 (2.0.0a4) has no context that can be changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cosmos_venv.constants import ON_RUN_END, ON_RUN_START
from cosmos_venv.dbt.project_files import content_of
from cosmos_venv.exceptions import CosmosValueError

_FOLDER = "cosmos_venv_run_hooks"
_GIVEN = "results, schemas, database_schemas"
_RUN = """\
{% macro cosmos_venv_run_hook(name, sql) %}
  {% do log("Running the hook " ~ name, info=true) %}
  {% if sql.strip() %}{% call statement("hook", auto_begin=false) %}{{ sql }}{% endcall %}{% endif %}
{% endmacro %}
"""
_START = """\
  {% if not adapter.check_schema_exists(target.database, target.schema) %}
    {% do adapter.create_schema(api.Relation.create(database=target.database, schema=target.schema)) %}
  {% endif %}
"""
_END = """\
  {% set results = [] %}{% set database_schemas = [] %}
  {% for result in fromjson(cosmos_venv_run_results()) %}
    {% set kind = result.unique_id.split(".")[0] %}
    {% set node = graph.nodes.get(result.unique_id, {"unique_id": result.unique_id, "resource_type": kind}) %}
    {% do results.append(dict(result, node=node)) %}
    {% set place = (node.database, node.schema) %}
    {% if kind in ("model", "seed", "snapshot") and result.status not in ("error", "skipped") and node.schema
          and place not in database_schemas and node.config.materialized != "ephemeral" %}
      {% do database_schemas.append(place) %}
    {% endif %}
  {% endfor %}
  {% set schemas = database_schemas | map(attribute=1) | unique | list %}
  {% if dbt_version.startswith("1.") %}
    {% do context.update({"results": results, "schemas": schemas, "database_schemas": database_schemas}) %}
  {% endif %}
"""
# In the literals of Jinja, as dbt reads them, no character but these means anything.
_MEANING = re.compile(r"""[\\"'{}%#]""")


def write_hooks_as_macros(place: Path, results: Sequence[Mapping[str, Any]] = ()) -> None:
    """Write ``dbt_project.yml`` without the hooks of the project, and macros that run the hooks.

    The hooks of packages stay: they report each command.

    :param place: the workspace.
    :param results: of the nodes of the run, with the keys of dbt's results; for ``on-run-end``.
    :raises CosmosLoadDbtException: when ``dbt_project.yml`` cannot be read.
    :raises CosmosValueError: when its hooks are no texts.
    """
    import yaml

    path = place / "dbt_project.yml"
    content = content_of(path)
    macros = [_RUN, _macro(ON_RUN_START, "", _START, _hooks(content, "on-run-start"))]
    macros.append(_macro(ON_RUN_END, _GIVEN, _END, _hooks(content, "on-run-end")))
    content["macro-paths"] = [*(content.get("macro-paths") or ["macros"]), _FOLDER]
    path.unlink()  # the link to the project's file
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    (place / _FOLDER).mkdir()
    (place / _FOLDER / "hooks.sql").write_text("".join(macros), encoding="utf-8")
    literal = _MEANING.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(results))
    text = f'{{% macro cosmos_venv_run_results() %}}{{{{ return("{literal}") }}}}{{% endmacro %}}\n'
    (place / _FOLDER / "results.sql").write_text(text, encoding="utf-8")


def _hooks(content: dict[str, Any], key: str) -> list[str]:
    given = content.pop(key, None) or []
    hooks = [given] if isinstance(given, str) else given
    if not isinstance(hooks, list) or not all(isinstance(each, str) for each in hooks):
        raise CosmosValueError(f"{key}={given!r} in dbt_project.yml is neither a text nor a list of texts. Correct it.")
    return hooks


def _macro(name: str, given: str, before: str, hooks: Sequence[str]) -> str:
    """The macro that runs these hooks in order, behind a macro for the text of each hook."""
    texts = [f"{{% macro {name}_{number}({given}) %}}{hook}{{% endmacro %}}\n" for number, hook in enumerate(hooks)]
    calls = [
        f'  {{% do cosmos_venv_run_hook("{name}.{number}", {name}_{number}({given})) %}}\n'
        for number in range(len(hooks))
    ]
    return "".join((*texts, f"{{% macro {name}() %}}\n", before, *calls, "{% endmacro %}\n"))
