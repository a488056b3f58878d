"""Libraries that write whom they ask for into logs and warnings are made to write nothing."""

import logging
import warnings

from pynetdicom import _config

# urllib3 logs URLs, dicomweb-client UIDs, pynetdicom whole identifiers, pydicom the values it finds wrong.
_TALKATIVE = ("urllib3", "dicomweb_client", "pynetdicom", "pydicom")


def silence_libraries() -> None:
    """From here on, at any level; what they would say reaches us as errors."""
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=rf"({'|'.join(_TALKATIVE)})\b")
    # Of these, pynetdicom also spares itself the work of writing what nobody sees.
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
