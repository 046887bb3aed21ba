"""The fake of dbt 2, a native program: its command line and its calls. Script and record are shared with dbt 1."""
