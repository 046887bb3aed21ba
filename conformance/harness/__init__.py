"""What the checks need: processes, projects, mounts and tasks that run."""
