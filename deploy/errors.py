"""The error that the commands of this package report in a line."""


class StackError(Exception):
    """A server that cannot be started, or that has ended by itself."""
