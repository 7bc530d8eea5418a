"""Probe a test or a function: measure the machine, time series of calls in worker processes, return a result."""
