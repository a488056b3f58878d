"""What Flower's control API says where it says no, in our words."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx
from flwr.supercore.error import FlowerError

from federation.errors import RunError, WardroundError


@contextmanager
def control_errors(
    where: str,
    *,
    silent: tuple[str, str],
    refuses: tuple[str, str],
    known: Mapping[int, WardroundError],
) -> Iterator[None]:
    """Inside the ``with`` block, errors of Flower's client are errors of ours.

    Args:
        where: ``host:port`` that was asked.
        silent: who does not answer, and the remedy.
        refuses: who says no, and the remedy.
        known: what a code of Flower's means here.

    Raises:
        WardroundError: one of ``known``.
        RunError: nobody answers, or not as expected.
    """
    try:
        yield
    except httpx.RequestError as error:
        raise RunError(f"{silent[0]} ({error}); {silent[1]}") from error
    except httpx.HTTPStatusError as error:
        refused = FlowerError.from_json(error.response.text)
        if refused is not None and refused.code in known:
            raise known[refused.code] from error
        said = f"HTTP {error.response.status_code}" if refused is None else refused.message
        raise RunError(f"{refuses[0]} ({said}); {refuses[1]}") from error
    except ValueError as error:  # no answer of a SuperLink's, or half of one
        raise RunError(f"what answers at {where} is no SuperLink ({error}); see to it") from error
