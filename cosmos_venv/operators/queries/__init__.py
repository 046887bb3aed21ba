"""The queries of ExecutionMode.AIRFLOW_ASYNC: where their SQL is kept, and how they run."""
