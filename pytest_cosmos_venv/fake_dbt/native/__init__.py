"""The fake of dbt 2, a native program: its command line and its calls, on script and record of the others."""
