"""Strategies, the ways to run many calls of one workload: the contract, the registry, and a file for each strategy."""
