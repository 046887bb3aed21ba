"""The AWS hook, where its provider is not installed."""

from __future__ import annotations

import sys
from collections import namedtuple
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest

from cosmos_venv.compat import get_connection

Credentials = namedtuple("Credentials", "access_key secret_key token")


class StandInHook:
    """The hook of the record: login, password and ``extra.aws_session_token`` are the credentials."""

    def __init__(self, aws_conn_id: str) -> None:
        self.aws_conn_id = aws_conn_id

    def get_credentials(self) -> Any:
        conn = get_connection(self.aws_conn_id)
        return Credentials(conn.login, conn.password, conn.extra_dejson.get("aws_session_token"))


@pytest.fixture
def aws_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's own where it is installed: it makes the same of such a connection."""
    if find_spec("airflow.providers") is None or find_spec("airflow.providers.amazon") is None:
        module = ModuleType("airflow.providers.amazon.aws.hooks.base_aws")
        vars(module)["AwsGenericHook"] = StandInHook
        monkeypatch.setitem(sys.modules, module.__name__, module)
