"""Turn estimates into verdicts, reasons and cautions, check gates, and compare reports. All functions are pure."""
