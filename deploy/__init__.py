"""Start the servers of a study that many machines share.

It imports nothing of `study`, which the servers' image does not hold.
"""
