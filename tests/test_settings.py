"""The settings in Airflow's configuration."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import pytest

from cosmos_venv import settings
from cosmos_venv.environments.maintenance.pruner import DAY, PruneLimits
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.managed import resolve


def test_our_section_wins_over_cosmoss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__VIRTUALENV_MAX_RETRIES_LOCK", "7")
    assert settings.virtualenv_max_retries_lock == 7

    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_MAX_RETRIES_LOCK", "8")
    assert settings.virtualenv_max_retries_lock == 8


def test_a_name_that_cosmos_does_not_have_is_not_read_from_its_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__VIRTUALENV_BUILD", "never")

    assert settings.virtualenv_build == "auto"


def test_an_older_name_counts_where_the_newer_one_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__USE_DATASET_AIRFLOW3_URI_STANDARD", "True")
    assert settings.enable_dataset_airflow3_uri is True

    monkeypatch.setenv("AIRFLOW__COSMOS__ENABLE_DATASET_AIRFLOW3_URI", "False")
    assert settings.enable_dataset_airflow3_uri is False


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ENABLE_CACHE", "perhaps", r"enable_cache = 'perhaps': it can be true or false"),
        (
            "VIRTUALENV_MAX_RETRIES_LOCK",
            "many",
            r"\[cosmos_venv\] virtualenv_max_retries_lock = 'many' is no whole number",
        ),
        ("VIRTUALENV_BUILD", "perhaps", r"virtualenv_build = 'perhaps': it can be auto or never"),
        ("VIRTUALENV_WARM_DBT_IDLE", "-1", r"virtualenv_warm_dbt_idle = '-1': it must be at least 1"),
        ("VIRTUALENV_WARM_DBT_MAX", "0", r"virtualenv_warm_dbt_max = '0': it must be at least 1"),
    ],
)
def test_a_value_that_cannot_be_is_named(monkeypatch: pytest.MonkeyPatch, key: str, value: str, message: str) -> None:
    monkeypatch.setenv(f"AIRFLOW__COSMOS_VENV__{key}", value)

    with pytest.raises(CosmosValueError, match=message):
        getattr(settings, key.lower())


def test_limits_of_a_store_can_be_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    by_default = PruneLimits(max_age=30 * DAY, max_count=10, max_bytes=0, min_age=DAY)
    assert resolve.prune_limits() == by_default

    for name, value in {
        "PRUNE_MAX_AGE_DAYS": "7",
        "PRUNE_MAX_COUNT": "3",
        "PRUNE_MAX_BYTES": "5000000000",
        "PRUNE_MIN_AGE": "60",
    }.items():
        monkeypatch.setenv(f"AIRFLOW__COSMOS_VENV__VIRTUALENV_{name}", value)

    limits = PruneLimits(max_age=7 * DAY, max_count=3, max_bytes=5_000_000_000, min_age=60)
    assert resolve.prune_limits() == limits


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(AttributeError, match=r"it has .*virtualenv_build"):
        _ = settings.virtualenv_bild


HAND_DOWN = """
import sys
sys.modules["airflow"] = None  # importing it fails
import pickle
from cosmos_venv import settings
settings.take_configured(pickle.loads(sys.stdin.buffer.read()))
print(settings.packages_max_age, settings.virtualenv_max_retries_lock, settings.enable_cache)
try:
    settings.dbt_docs_dir
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_process_without_airflow_reads_the_settings_that_were_handed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__PACKAGES_MAX_AGE", " 77 ")
    monkeypatch.setenv("AIRFLOW__COSMOS__VIRTUALENV_MAX_RETRIES_LOCK", "3")
    from airflow.configuration import conf

    def get(section: str, key: str, **more: Any) -> Any:
        if key == "dbt_docs_dir":  # as of a stray % in airflow.cfg
            raise ValueError("'%' must be followed by '%' or '('")
        return asked(section, key, **more)

    asked = conf.get
    monkeypatch.setattr(conf, "get", get)

    request = pickle.dumps(settings.configured())

    done = subprocess.run([sys.executable, "-c", HAND_DOWN], input=request, capture_output=True, check=False)
    assert done.stdout.decode().splitlines() == [
        "77 3 True",
        "CosmosValueError [cosmos_venv] dbt_docs_dir: '%' must be followed by '%' or '('",
    ], done.stderr.decode()
