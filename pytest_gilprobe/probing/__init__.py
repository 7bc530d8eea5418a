"""Probe a test or a function: survey the machine, time batches of calls in worker processes, return a result."""
