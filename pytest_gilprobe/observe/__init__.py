"""Observe the machine, the interpreter and the GIL while a test runs: clocks, CPUs, memory, samples of the GIL."""
