"""The pods of the how-to guides about deploying: volumes, and the mode of a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.installed import ROOT
from tests.whole.page_blocks import blocks_of

PAGES = [ROOT / "docs" / "how-to" / "deploying" / f"{name}.md" for name in ("kubernetes", "image-volume")]


def pods() -> list[dict[str, Any]]:
    found = [yaml.safe_load(block.text) for page in PAGES for block in blocks_of(page) if block.language == "yaml"]
    return [pod for pod in found if "spec" in pod]


def test_a_pod_mounts_what_it_declares() -> None:
    assert len(pods()) == 2
    for pod in pods():
        (container,) = pod["spec"]["containers"]

        # Airflow gives its own image and command to the container of this name.
        assert container["name"] == "base"
        assert all(isinstance(each["value"], str) for each in container["env"])
        assert [each["name"] for each in container["volumeMounts"]] == [each["name"] for each in pod["spec"]["volumes"]]


def test_the_key_of_a_pod_is_one_that_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cosmos_venv.managed.signing_key import signing_key

    template = next(pod for pod in pods() if "securityContext" in pod["spec"])
    (volume,) = template["spec"]["volumes"]
    file = tmp_path / "key"
    file.write_text("an-example-key-of-24-bytes")
    file.chmod(volume["secret"]["defaultMode"])
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__REMOTE_KEY_FILE", str(file))

    assert signing_key() == file.read_bytes()
    assert Path(template["spec"]["containers"][0]["env"][1]["value"]).name == "key"
