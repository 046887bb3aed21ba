"""Record what dbt-bigquery makes of the project here: ``python -m tests.data.bigquery.record path/to/dbt``.

It writes ``manifest.json``, as ``dbt compile`` leaves it, and ``statements.json``, the SQL that ``dbt run`` sends for
each model to the toolkit's server. Both are of dbt-core 1.11.16 with dbt-bigquery 1.12.1.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from tests.bigquery_server import BigQueryServer

HERE = Path(__file__).parent
COMMENT = re.compile(r"/\* (?P<about>{.*?}) \*/\n?")


def main(dbt: str) -> None:
    server = BigQueryServer()
    server.start()
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch, "project")
        shutil.copytree(HERE / "project", project)
        profile = {"shop": {"target": "dev", "outputs": {"dev": server.profile()}}}
        (project / "profiles.yml").write_text(yaml.safe_dump(profile))
        env = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
        subprocess.run([dbt, "compile", "--profiles-dir", "."], cwd=project, env=env, check=True)
        manifest = json.loads((project / "target/manifest.json").read_text())
        subprocess.run([dbt, "run", "--profiles-dir", "."], cwd=project, env=env, check=True)
    server.close()
    kept = {name: manifest[name] for name in ("metadata", "nodes", "sources", "exposures", "parent_map", "child_map")}
    (HERE / "manifest.json").write_text(json.dumps(kept, indent=1) + "\n")
    statements = {}
    for job in server.jobs:
        about = COMMENT.match(job.sql)
        node = json.loads(about["about"]).get("node_id") if about else None
        if about and node:
            statements[node] = job.sql[about.end() :]
    (HERE / "statements.json").write_text(json.dumps(statements, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
