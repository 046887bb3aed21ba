"""What Airflow shows of a node beside its task: a page in Markdown, of bounded length."""
