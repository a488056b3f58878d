"""What breaks on the way, and may not the next time."""


class DroppedError(Exception):
    """A connection ended, or brought nothing more in time; what is missing is asked for again.

    It never leaves this package, and names nobody.
    """
