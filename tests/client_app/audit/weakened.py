"""Streams that forget a part of their address, so that noise comes again."""

from client_app.training.stream import Stream


class SameEverywhere(Stream):
    """Forgets the site's secret."""

    def __init__(self, secret, *address):
        super().__init__(bytes(32), *address)


class SameInEachRound(Stream):
    """Forgets which round it is."""

    def __init__(self, secret, study, round_number, *address):
        super().__init__(secret, study, *address)
