"""What holds for all tests."""

import signal

# Whoever starts the tests in the background has them ignore Ctrl-C, and every process that they start, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
