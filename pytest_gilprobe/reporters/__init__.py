"""Drawings of reports and comparisons: what to say is in layout, each medium draws it."""
