"""Metrics with confidence intervals, the operating point, and the report with its plots; without torch."""
