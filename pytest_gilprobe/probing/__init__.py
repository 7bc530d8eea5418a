"""Probe one workload: the way from plan to result, the schedule of batches, the workers, the survey of the machine."""
