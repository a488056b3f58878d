"""A launcher as a hospital has it, with an installed app that echoes.

``echo_site.py SECRET HOST:PORT SECONDS [METHOD]``: it dies, as a whole, in its client's METHOD.
"""

import logging
import os
import signal
import sys
import time
from pathlib import Path

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore.runtime import RuntimeHttpClient

from federation.flower_runtime import Tasks, answer_message
from federation.launcher import run_launcher
from federation.logs import log_lines

app = ClientApp()


@app.query()
def echo(message, context):
    asked = str(message.content["question"]["text"])
    if asked == "hang":
        logging.getLogger("site").info("hangs")
        time.sleep(3600)
    told = ConfigRecord({"text": f"installed: {asked}", "process": os.getpid()})
    return Message(RecordDict({"answer": told}), reply_to=message)


def die(*_):
    os.kill(os.getppid(), signal.SIGKILL)  # and this child with it
    time.sleep(3600)


if __name__ == "__main__":
    secret, address, seconds, *dies = sys.argv[1:]
    for method in dies:
        setattr(RuntimeHttpClient, method, die)
    log_lines()
    tasks = Tasks(address, Path(secret), server=False)
    run_launcher(
        tasks,
        lambda task: answer_message(tasks, task, app),
        seconds=float(seconds),
        ending=signal.SIGKILL,
    )
