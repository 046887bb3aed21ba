"""One dbt invocation: its command line, the folder it runs in, the process, and what came of it. Knows no Airflow."""
