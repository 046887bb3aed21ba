"""dbt in Airflow without Cosmos, as many teams have it, to be judged by the suite."""
