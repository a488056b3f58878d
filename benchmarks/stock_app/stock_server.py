"""A ServerApp that has a model sent to and fro, and writes down how long each time took."""

import json
import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MessageType, RecordDict
from flwr.serverapp import Grid, ServerApp

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Exchange ``values`` numbers ``rounds`` times; the seconds of each go to the file ``record``."""
    model = np.zeros(int(context.run_config["values"]), np.float32)
    seconds = []
    for _ in range(int(context.run_config["rounds"])):
        begun = time.monotonic()
        content = RecordDict({"model": ArrayRecord([model])})
        messages = [
            Message(content, dst_node_id=node, message_type=MessageType.TRAIN) for node in grid.get_node_ids()
        ]
        replies = list(grid.send_and_receive(messages, timeout=600))
        if len(replies) != len(messages) or any(reply.has_error() for reply in replies):
            raise RuntimeError(f"{len(replies)} of {len(messages)} nodes answered")
        seconds.append(time.monotonic() - begun)
    Path(str(context.run_config["record"])).write_text(json.dumps(seconds))
