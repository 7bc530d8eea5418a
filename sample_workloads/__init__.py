"""Real pieces of Python with known answers, to be read and then run: ``pytest sample_workloads --gilprobe-report``."""
