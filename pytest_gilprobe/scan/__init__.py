"""Scan a test suite during its one run, or watch any Python program, from a second process: nothing is run again."""
