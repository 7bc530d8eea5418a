"""Probe one workload: the spine from plan to result, the schedule, the open test, the survey of the machine."""
