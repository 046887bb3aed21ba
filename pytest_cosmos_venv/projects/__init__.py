"""dbt projects from a few lines, their manifests, and the servers that hand these out."""
