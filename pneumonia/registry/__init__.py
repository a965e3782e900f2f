"""Where bundles are versioned, with aliases: one interface, and a backend a file."""
