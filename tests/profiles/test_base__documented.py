"""The page docs/reference/profiles.md says of each class what its table says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.profiles import BaseProfileMapping, profile_mappings
from tests.profiles.samples import connect
from tests.whole.page_blocks import blocks_in

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "profiles.md"
HEAD = "| class | connection type | dbt type | required fields | of these only from `profile_args` | otherwise |"


def words(names: object) -> str:
    assert isinstance(names, list | tuple)
    return ", ".join(f"`{name}`" for name in names)


def row(cls: type[BaseProfileMapping]) -> str:
    method = f" / {cls.dbt_profile_method}" if cls.dbt_profile_method else ""
    unsaid = [
        name
        for name in (*cls.required_fields, *cls.needed_by_dbt)
        if name not in cls.airflow_param_mapping and name not in ("aws_access_key_id", "aws_secret_access_key")
    ]
    otherwise = [f"`{name}: {value}`" for name, value in {**cls.default_values, **cls.fixed_values}.items()]
    cells = (
        f"`{cls.__name__}`",
        cls.airflow_connection_type,
        f"{cls.dbt_profile_type}{method}",
        ", ".join(f"**{name}**" if name in cls.secret_fields else name for name in cls.required_fields),
        words(unsaid),
        ", ".join(otherwise),
    )
    return f"| {' | '.join(cells)} |"


def test_the_page_has_the_table_of_all_classes() -> None:
    lines = [HEAD, "|---|---|---|---|---|---|", *map(row, profile_mappings)]

    page = PAGE.read_text(encoding="utf-8")

    assert "\n".join(lines) in page, "docs/reference/profiles.md wants this table:\n" + "\n".join(lines)


def test_the_class_on_the_page_works(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, conn_type="http", host="https://pier", password="s3cret-word")
    source = blocks_in(PAGE.read_text(encoding="utf-8"), "python")[-1]
    names: dict[str, Any] = {}

    exec(source, names)  # noqa: S102 - as a user copies it
    mapping = names["CraneMapping"]("sample", {"threads": 2})

    assert mapping.can_claim_connection()
    assert mapping.env_vars == {"COSMOS_CONN_HTTP_TOKEN": "s3cret-word"}
    assert mapping.profile == {
        "type": "crane",
        "host": "pier",
        "port": 8080,
        "threads": 2,
        "token": "{{ env_var('COSMOS_CONN_HTTP_TOKEN') }}",
    }
