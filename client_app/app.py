"""The Flower ClientApp: carries typed records between the coordinator and this hospital's custodian.

It sees neither patients' data nor keys, and nothing but a typed record leaves through it: the text of an
unexpected error stays in the site's log.
"""

import logging
import uuid

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client_app.connection import connect
from federation.errors import MessageError
from federation.messages import Record, RefusalReply, Request, from_content, to_content

log = logging.getLogger("wardround.relay")
app = ClientApp()


@app.query()
@app.train()
@app.evaluate()
def relay(message: Message, context: Context) -> Message:
    """Hand the request to the custodian and its reply to the coordinator."""
    return Message(to_content(_answer(message, context)), reply_to=message)


def _answer(message: Message, context: Context) -> Record:
    try:
        request = from_content(message.content)
        if not isinstance(request, Request):
            raise MessageError(f"a {type(request).__name__} is no request")
        return connect(context).handle(request)
    except Exception as error:  # whatever happens, its text must not leave
        reference = uuid.uuid4().hex[:12]
        log.warning("relay failed, reference %s", reference, exc_info=True)
        rule = type(error).__name__
        return RefusalReply(
            site="", kind="failed", rule=rule, reason="see the site's log", reference=reference
        )
