"""Measure the GIL of a test suite during its normal run, or of any Python program, from a second process."""
