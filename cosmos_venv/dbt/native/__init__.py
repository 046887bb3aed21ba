"""dbt 2, a native program: what it can do, what it needs, and how it says what dbt 1 says in other words.

All of it was read off dbt-core 2.0.0a4.
"""
