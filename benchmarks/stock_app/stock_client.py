"""A ClientApp as Flower's examples have it, which imports what training needs; it sends back the model."""

import monai  # noqa: F401
import opacus  # noqa: F401
import torch  # noqa: F401
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:  # noqa: ARG001
    """Answer what was sent."""
    return Message(message.content, reply_to=message)
