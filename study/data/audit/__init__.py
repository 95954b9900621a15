"""Audit a data set: broken files, duplicates, groups and leaking splits."""
