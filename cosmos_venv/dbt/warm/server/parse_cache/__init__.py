"""STDLIB ONLY. The kept parsed project: what a server keeps of a project that dbt has parsed."""
