"""Turn clock readings and GIL samples into estimates: pure functions whose docstrings cite their sources."""
