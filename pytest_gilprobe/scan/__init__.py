"""Measure from a second process how long a test suite in its normal run, or any Python program, holds the GIL."""
