"""Draw charts, and write tables and reports as files."""
