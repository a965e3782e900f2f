"""Engines by name: one module for each runtime, and the registry that opens them and knows which `auto` takes."""
