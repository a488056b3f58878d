"""An image file as grey pixels of one size; the same code for images to learn from and for new ones."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms.v2.functional import center_crop, pil_to_tensor, resize

from federation.errors import DataError


def grey_image(name: str, content: bytes, size: int, *, crop: bool = False) -> NDArray[np.uint8]:
    """An image file, uint8 ``[size, size]``.

    Args:
        name: what to call it in an error.
        content: of the file.
        size: height and width in pixels.
        crop: take the largest square in the middle; without it a longer side is squeezed.

    Raises:
        DataError: it is no image, or has more than 8 bits a pixel.
    """
    try:
        with Image.open(BytesIO(content)) as image:
            mode, grey = image.mode, pil_to_tensor(image.convert("L"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"image {name} cannot be read: {error}") from error
    if mode.startswith(("I", "F")):  # Pillow would turn everything above 255 white
        raise DataError(f"image {name} has more than 8 bits a pixel (mode {mode}); window it to 8 bits first")
    if crop:
        grey = center_crop(grey, [min(grey.shape[-2:])] * 2)
    small: NDArray[np.uint8] = resize(grey, [size, size], antialias=True)[0].numpy()
    return small
