"""Measurements: speed is compared in one run, as a ratio."""
