"""From samples to estimates: pure functions, each with its source."""
