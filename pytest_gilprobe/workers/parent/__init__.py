"""Start, ask and end worker processes, from their parent, which is pytest's own process."""
