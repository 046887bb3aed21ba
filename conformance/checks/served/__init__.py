"""The checks that need an Airflow with servers: a scheduler, an API server, a triggerer."""
