"""Run calls in other processes, here or on a Ray cluster.

This package knows nothing of trials.
"""
