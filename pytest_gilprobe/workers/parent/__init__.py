"""Worker processes as pytest's own process, their parent, sees them: start, ask and end them."""
