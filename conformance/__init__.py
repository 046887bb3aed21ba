"""The conformance suite for operators that run dbt in a virtualenv: ``SPEC.md`` says what is required, the checks show
it.

Shipped as ``pytest_cosmos_venv.conformance`` and run by ``pytest --cosmos-conformance``. The modules import each other
relatively, since the package has two names, and import from the plugin only what ``pytest_cosmos_venv`` offers to
everybody.
"""

from __future__ import annotations

SPECIFICATION_VERSION = "1.0"
SUITE_VERSION = "1.0"
