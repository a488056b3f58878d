"""``python -m simulation.sweep.job``: a simulation that stops, as at Ctrl-C, when its standard input ends.

Whoever starts it keeps that input open. However the starter ends, its simulations end with it, and each
leaves the record of what it has finished.
"""

import os
import signal
import sys
import threading

from simulation.simulate import main


def _stop_when_input_ends() -> None:
    # Not sys.stdin: its lock, held by a waiting thread, would break the interpreter's end.
    while os.read(0, 1024):
        pass
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


if __name__ == "__main__":
    # A process started in the background may have been told to ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_stop_when_input_ends, daemon=True).start()
    sys.exit(main(sys.argv[1:]))
