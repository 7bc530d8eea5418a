"""Draw reports and comparisons of reports: some modules choose the texts, others draw them in one format each."""
