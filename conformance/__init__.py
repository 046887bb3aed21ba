"""Does an implementation of dbt-in-a-virtualenv operators keep what is promised? ``SPEC.md`` says it, this shows it.

Shipped as ``pytest_cosmos_venv.conformance`` and run by ``pytest --cosmos-conformance``. The modules import each other
relatively, since the package has two names, and from the plugin only what ``pytest_cosmos_venv`` offers to everybody.
"""

from __future__ import annotations

SPECIFICATION_VERSION = "1.0"
SUITE_VERSION = "1.0"
