"""A web server of Airflow 2 whose pages are asked for without a socket. Run by ``test_flask_docs.py``, on Airflow 2.

Prints one JSON: for each user and path, what the server says.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from airflow.utils.db import initdb
from airflow.www.app import create_app

PATHS = ["", "shop", "shop/", "shop/page.html", "shop/manifest.json", "mart/page.html", "shop/../mart/page.html"]


def main() -> int:
    initdb()
    app: Any = create_app(testing=True)
    app.config["WTF_CSRF_ENABLED"] = False
    manager = app.appbuilder.sm
    said = {}
    with app.app_context():
        for name, roles in {"ann": ["Viewer"], "eve": [], "adam": ["Admin"]}.items():
            found = [manager.find_role(role) for role in roles]
            manager.add_user(name, name, name, f"{name}@example.com", found, password="secret")
        dag_role = manager.add_role("one DAG")
        for action, resource in (("can_read", "DAG:mart"), ("can_read", "Website")):
            manager.add_permission_to_role(dag_role, manager.create_permission(action, resource))
        manager.add_user("mona", "mona", "mona", "mona@example.com", [dag_role], password="secret")
    for name in ("", "ann", "eve", "mona"):
        with app.test_client() as client:
            if name:
                client.post("/login/", data={"username": name, "password": "secret"})
            said[name] = {path: answer_of(client.get(f"/dbt-docs/{path}")) for path in PATHS}
    with app.test_client() as client:
        client.post("/login/", data={"username": "adam", "password": "secret"})
        menu = client.get("/home").get_data(as_text=True)
    print(json.dumps({"said": said, "menu": 'href="/dbt-docs/"' in menu}))
    return 0


def answer_of(found: Any) -> dict[str, Any]:
    return {"status": found.status_code, "headers": dict(found.headers), "text": found.get_data(as_text=True)[:20_000]}


if __name__ == "__main__":
    sys.exit(main())
