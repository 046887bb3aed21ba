"""One dbt invocation: its command line, the folder it runs in, the process, and its results. Knows no Airflow."""
