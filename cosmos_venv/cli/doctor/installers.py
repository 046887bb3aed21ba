"""Does the installer get an answer from its index? Asked as a build would ask, and nothing is installed."""

from __future__ import annotations

import os
from collections.abc import Iterator

from cosmos_venv.cli.doctor.finding import Examined, Finding
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError

_LONGEST = 60.0


def index_answers(_: Examined) -> Iterator[Finding]:
    """One finding: which installer builds, and whether it finds dbt-core where it is configured to look."""
    from cosmos_venv.environments import index_trial
    from cosmos_venv.managed.configured import installer

    try:
        tried = index_trial.try_index(installer(), os.environ, within=_LONGEST)
    except (VirtualenvError, CosmosValueError) as error:
        yield _failed("installer", str(error), "Install uv (cosmos-venv[uv]) or pip.")
        return
    places = ", ".join(tried.hosts) or "where it is configured to look"
    if tried.problem is None:
        yield Finding(check="index", subject=tried.installer, outcome="ok", text=f"dbt-core can be had from {places}.")
    elif tried.is_asked:
        text = f"dbt-core cannot be had from {places}: {tried.problem}"
        way_out = "See that this host reaches it, and what PIP_…, UV_…, HTTPS_PROXY, pip.conf and uv.toml say."
        yield _failed(tried.installer, text, way_out)
    else:
        text = f"Its index was not asked: {tried.problem}."
        yield Finding(
            check="index", subject=tried.installer, outcome="warning", text=text, way_out="Build one: env warm."
        )


def _failed(subject: str, text: str, way_out: str) -> Finding:
    return Finding(check="index", subject=subject, outcome="failed", text=text, way_out=way_out)
