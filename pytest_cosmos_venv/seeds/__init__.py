"""Seeds that change or do not: a project and the state that earlier runs left."""
