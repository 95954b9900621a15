"""Audit a dataset: broken files, equal images, near-duplicates, groups, and leaking splits."""
