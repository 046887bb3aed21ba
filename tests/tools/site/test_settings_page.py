"""The settings in the reference are those of the code, and one without a meaning is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cosmos_venv.settings.table import SETTINGS, Setting
from tools.site.settings_page import settings_table, settings_text
from tools.site.undocumented import Undocumented


def test_each_setting_has_a_section_of_its_own() -> None:
    text = settings_text()

    assert [line.strip("# `") for line in text.splitlines() if line.startswith("## ")] == sorted(SETTINGS)


def test_a_setting_is_told_with_all_that_the_code_says_of_it() -> None:
    setting = Setting(default=4, meaning="How many.", least=1, older_name="most")

    assert settings_text({"at_most": setting}).splitlines() == [
        "## `at_most`",
        "",
        "How many.",
        "",
        "- Type: whole number",
        "- Default: `4`",
        "- Smallest value: 1",
        "- Environment variable: `AIRFLOW__COSMOS_VENV__AT_MOST`",
        "- Also read from `[cosmos]`: `AIRFLOW__COSMOS__AT_MOST`",
        "- Older name, still read: `most`",
    ]


def test_a_text_that_is_empty_has_a_default_in_words_and_its_values() -> None:
    text = settings_text({"kind": Setting(default="", meaning="Which.", is_also_cosmos=False, choices=("a", "b"))})

    assert "- Default: empty\n- Values: `a`, `b`\n" in text
    assert "cosmos]" not in text


def test_a_setting_without_a_meaning_is_refused() -> None:
    silent = replace(SETTINGS["cache_dir"], meaning="  ")

    with pytest.raises(Undocumented, match=r"^the setting cache_dir has no meaning$"):
        settings_text({**SETTINGS, "cache_dir": silent})


def test_a_table_of_some_settings_is_that_of_the_code() -> None:
    setting = SETTINGS["virtualenv_prune_max_count"]

    assert settings_table("virtualenv_prune_max_count").splitlines()[2:] == [
        f"| [`virtualenv_prune_max_count`](/reference/settings.md#virtualenv_prune_max_count) | `{setting.default}` | "
        f"{setting.meaning} |"
    ]


def test_a_table_of_a_setting_that_is_gone_is_refused() -> None:
    with pytest.raises(Undocumented, match=r"^there is no setting gone$"):
        settings_table("cache_dir", "gone")
