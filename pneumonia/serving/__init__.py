"""The HTTP API on LitServe: endpoints, limits, errors and metrics; without torch."""
