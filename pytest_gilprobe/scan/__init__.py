"""A suite's one run, or any program's, watched from beside it: nothing is run again."""
