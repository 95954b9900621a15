"""Compare runs: table rows and columns, verdicts, and conclusions in words."""
