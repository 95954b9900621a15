"""Compare runs: the table's rows and columns, verdicts, and what they mean in words."""
