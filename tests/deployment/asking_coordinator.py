"""A launcher as a coordinator has it, with an installed app that asks one node and writes down what it hears.

``asking_coordinator.py SECRET HOST:PORT FOLDER``
"""

import json
import signal
import sys
import time
from pathlib import Path

from flwr.app import ConfigRecord, Message, MessageType, RecordDict

from federation.flower_runtime import Tasks, carry_out_run
from federation.launcher import run_launcher
from federation.logs import log_lines


def study(grid, context, bundle):
    question = str(context.run_config["question"])
    while not (nodes := list(grid.get_node_ids())):
        time.sleep(0.2)
    content = RecordDict({"question": ConfigRecord({"text": question})})
    message = Message(content, dst_node_id=nodes[0], message_type=MessageType.QUERY)
    (reply,) = grid.send_and_receive([message], timeout=180)
    told = (
        {"error": reply.error.code}
        if reply.has_error()
        else {"text": reply.content["answer"]["text"], "process": reply.content["answer"]["process"]}
    )
    file = folder / f"{question}.json"
    file.with_suffix(".part").write_text(
        json.dumps({**told, "bundle": sorted(p.name for p in bundle.iterdir())})
    )
    file.with_suffix(".part").rename(file)


if __name__ == "__main__":
    secret, address, where = sys.argv[1:]
    folder = Path(where)
    log_lines()
    tasks = Tasks(address, Path(secret), server=True)
    run_launcher(tasks, lambda task: carry_out_run(tasks, task, study), seconds=None, ending=signal.SIGTERM)
