"""`pneumonia tune`: a search for settings, each trial a run of `pneumonia fit` in a process of its own."""
