"""Drawings of reports and comparisons: `layout` chooses the content, and one module for each output format draws it."""
