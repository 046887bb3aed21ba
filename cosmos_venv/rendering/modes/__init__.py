"""Plans of the modes whose tasks do not run dbt each for themselves."""
