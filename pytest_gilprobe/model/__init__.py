"""The project's vocabulary: records, thresholds, text, JSON. It imports no other subpackage."""
