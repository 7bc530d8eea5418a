"""Worker processes, which call workloads, and the messages between them and pytest's own process."""
