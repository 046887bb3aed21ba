"""A stand-in for Airflow, quick to start, that only knows where it lives, and tests of a project that asks."""

from __future__ import annotations

STAND_IN = {
    "__init__.py": "",
    "configuration.py": """
        import os
        AIRFLOW_HOME = os.path.expanduser(os.environ.get("AIRFLOW_HOME", "~/airflow"))

        class conf:
            get = staticmethod(lambda section, name: f"{AIRFLOW_HOME}/dags")
        """,
    "settings.py": """
        import os
        from airflow.configuration import AIRFLOW_HOME
        SQL_ALCHEMY_CONN = os.environ.get("AIRFLOW__CORE__SQL_ALCHEMY_CONN", f"sqlite:///{AIRFLOW_HOME}/airflow.db")

        class Session:
            remove = staticmethod(lambda: None)
        """,
    "__main__.py": """
        import os, sqlite3, sys
        sys.exit("the stand-in is broken") if os.environ.get("BROKEN") else None
        connection = sqlite3.connect(os.environ["AIRFLOW_HOME"] + "/airflow.db")
        connection.execute("create table dag_run (id integer)")
        connection.commit()
        """,
}
"""File of the package -> its text. It settles when it is imported, and "migrates"."""

USING = """
    import os
    import airflow.configuration

    def test_home(cosmos_airflow):
        assert airflow.configuration.AIRFLOW_HOME == str(cosmos_airflow.home.path)
        assert "production" not in str(cosmos_airflow.home.path)
        assert os.environ["AIRFLOW_HOME"] == str(cosmos_airflow.home.path)
        assert os.environ["AIRFLOW_CONFIG"] == f"{cosmos_airflow.home.path}/airflow.cfg"
        assert os.environ["XDG_RUNTIME_DIR"] == str(cosmos_airflow.home.path)
        assert "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" not in os.environ
        assert "load_examples = False" in (cosmos_airflow.home.path / "airflow.cfg").read_text()
        assert cosmos_airflow.home.database.is_file()
        assert list(cosmos_airflow.home.dags_folder.iterdir()) == []
"""
