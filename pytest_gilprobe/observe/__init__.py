"""Observe the machine, the interpreter and the GIL while a workload runs: clocks, CPUs, memory, GIL samples."""
