"""One trial, from a checked config to a complete run: read, train, record."""
