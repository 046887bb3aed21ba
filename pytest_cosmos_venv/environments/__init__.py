"""The things from which a test installs dbt, or in which it runs dbt: fake environments, wheelhouses, package
indexes.
"""
