"""From estimates to an answer: verdict, reason, cautions, gates, differences between reports. Pure functions."""
