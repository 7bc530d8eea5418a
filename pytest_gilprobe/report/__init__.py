"""Draw reports and comparisons of reports: some modules choose the texts, one for each output format draws them."""
