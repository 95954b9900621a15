"""Start the servers of a study that many machines share: by Docker, or by `native` without it.

It imports nothing of `study`, which the servers' image does not hold.
"""
