"""What a test installs from or runs dbt in: fake environments, wheelhouses, package indexes."""
