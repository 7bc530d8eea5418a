"""The code of a worker process: a pytest session that makes batches of timed calls instead of running its tests."""
