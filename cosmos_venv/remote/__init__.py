"""Files that lie elsewhere: on a web server, or in an object store of Airflow's.

What is slow to import is imported where it is used.
"""
