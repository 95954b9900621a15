"""Run calls in other processes, on this machine or a Ray cluster; knows nothing of trials."""
