"""Cosmos's import path of the graph and its nodes, which are made in ``cosmos_venv.project`` on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmos_venv.public_names import name_lookup

if not TYPE_CHECKING:
    __getattr__ = name_lookup(
        __name__,
        {
            "CosmosLoadDbtException": "cosmos_venv.exceptions:CosmosLoadDbtException",
            "DbtGraph": "cosmos_venv.project.graph:DbtGraph",
            "DbtNode": "cosmos_venv.project.node:DbtNode",
        },
    )
