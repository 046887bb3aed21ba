"""Implementations that misbehave so badly that a judge could fall over them."""
