"""How does a person read a report, or several side by side? One HTML page that asks no host for anything."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .judging import Verdict
from .requirements import Level

_TEMPLATE = Path(__file__).with_name("report.html.jinja")


def page(reports: Sequence[Mapping[str, Any]]) -> str:
    """The page.

    :param reports: one, or several to be compared, each as ``report.json`` has it.
    """
    from jinja2 import Environment, select_autoescape

    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        reports=reports,
        rows=_rows(reports),
        levels=[level.value for level in Level],
        verdicts=[verdict.value for verdict in Verdict],
        is_comparison=len(reports) > 1,
    )


def _rows(reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One for each requirement of any report, with what each report says of it."""
    found: dict[str, dict[str, Any]] = {}
    for index, report in enumerate(reports):
        for record in report["requirements"]:
            row = found.setdefault(record["id"], {**record, "cells": [None] * len(reports)})
            row["cells"][index] = {**record, "images": [_image(svg) for svg in record["pictures"]]}
    return sorted(found.values(), key=lambda row: str(row["id"]))


def _image(svg: str) -> str:
    """As an image a picture cannot run anything, whatever stands in it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
