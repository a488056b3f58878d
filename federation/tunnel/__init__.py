"""The one way out: bytes come in here, and leave through TLS with a certificate to one address.

A hospital's SuperNode and a researcher's command line cannot present a certificate of their own. What passes
is neither looked at nor written down. An idle connection is left to its two ends.
"""
