"""How much of a file is looked at, before anything is made of it."""

from typing import Annotated

from pydantic import Field

from federation.schema import Frozen

Count = Annotated[int, Field(ge=1)]


class Limits(Frozen):
    """What a file may ask for; more is refused.

    Attributes:
        file_bytes: of a file.
        inflated_bytes: of the data set of a deflated one.
        parts: data elements, items of sequences and values of texts, at all depths; pydicom makes an object,
            of about 0.5 kB, for each.
        metadata_bytes: of everything but the pixels.
        depth: of sequences within sequences.
        pixel_bytes: of the frames once they are decoded.
        frames: of one file.
    """

    file_bytes: Count = 1 << 30
    inflated_bytes: Count = 256 << 20
    parts: Count = 250_000
    metadata_bytes: Count = 32 << 20
    depth: Count = 16
    pixel_bytes: Count = 1 << 30
    frames: Count = 20_000
