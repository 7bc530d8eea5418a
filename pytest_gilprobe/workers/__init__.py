"""Worker processes: what they are told, what they run, and how the parent keeps them."""
