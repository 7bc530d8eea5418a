"""The code of a worker process: a pytest session that serves batches of calls instead of running tests."""
