"""Files that lie elsewhere: on a web server, or in an object store of Airflow's.

Modules that are slow to import are imported where they are used.
"""
