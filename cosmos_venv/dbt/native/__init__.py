"""dbt 2, a native program: its abilities and needs, and its messages where they differ from dbt 1.

All of it was read off dbt-core 2.0.0a4.
"""
