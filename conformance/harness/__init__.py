"""The tools of the checks: processes, projects, mounts and tasks that run."""
