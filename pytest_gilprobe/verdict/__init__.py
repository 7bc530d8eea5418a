"""Turn estimates into verdicts and cautions (warnings), check gates (checks that fail a test), and compare reports."""
