"""The page's tabs: a module each, whose `build` places its parts inside `gr.Tab` and joins them by events."""
