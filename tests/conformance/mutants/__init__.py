"""Faulty implementations: each breaks one requirement as an implementer might, and must be caught by that one."""
