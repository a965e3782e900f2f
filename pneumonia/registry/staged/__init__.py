"""Staged tests: what a bundle in a registry has to pass before it may be served to anybody."""
