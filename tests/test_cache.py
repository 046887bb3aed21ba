"""What nobody has used for some time is deleted from the caches of answers of ``dbt ls``."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from cosmos_venv import cache
from cosmos_venv.cache import delete_unused_dbt_ls_cache, delete_unused_dbt_ls_remote_cache_files

DAY = 86_400.0
pytestmark = pytest.mark.usefixtures("own_cache")


def of_age(file: Path, days: float) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{}")
    os.utime(file, (time.time() - days * DAY,) * 2)
    return file


@pytest.mark.parametrize(
    ("delete", "name"),
    [
        (cache.delete_unused_dbt_cache, "cache"),
        (cache.delete_unused_dbt_remote_cache_files, "remote"),
        (delete_unused_dbt_ls_cache, "cache"),
        (delete_unused_dbt_ls_remote_cache_files, "remote"),
    ],
)
def test_answers_that_nobody_has_used_are_deleted(
    delete: type, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__REMOTE_CACHE_DIR", f"file://{tmp_path}/remote")
    old, young = (of_age(tmp_path / name / "dbt-ls-v1" / f"{days}.answer", days) for days in (31, 5))
    plan = of_age(tmp_path / name / "plans-v1" / "a.jsonl", 31)

    assert delete() == 1
    assert (old.exists(), young.exists()) == (False, True)
    assert delete(max_age_last_usage=timedelta(days=4), session=None) == 1
    assert (young.exists(), plan.exists()) == (False, True)


def test_without_a_cache_nothing_is_deleted() -> None:
    assert (delete_unused_dbt_ls_cache(), delete_unused_dbt_ls_remote_cache_files()) == (0, 0)


@pytest.mark.parametrize("name", ["cache", "remote_cache_files"])
def test_yaml_selectors_are_not_kept_so_none_are_deleted(name: str) -> None:
    delete = getattr(cache, f"delete_unused_dbt_yaml_selectors_{name}")

    assert (delete(), delete(max_age_last_usage=timedelta(days=4), session=None)) == (0, 0)
