"""What a study asks for in numbers that have to be computed: by whoever looks at it, not in the custodian.

Nobody has vouched for a study that waits: its network, or its number of steps, may take more memory than
there is, and then it is the look that ends, and not the process that holds the keys.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from client_app.desk.questions import Demand
from federation.errors import RunError
from federation.models import build_network, layout_of
from federation.promise import noise_multiplier
from federation.study import Study

_MOST_BYTES = 6 * 2**30


def demand_of(study: Study) -> Demand:
    """What ``study`` asks for.

    Raises:
        WardroundError: its network cannot be built, its promise cannot be kept, or finding out takes more
            memory than a look may.
    """
    try:
        with at_most(_MOST_BYTES):
            numbers = layout_of(build_network(study.model, study.task)).trainable_size
            return Demand(numbers=numbers, noise_multiplier=noise_multiplier(study))
    except MemoryError as error:
        raise RunError(
            f"study {study.id[:12]} asks for more than {_MOST_BYTES // 2**30} GiB before it even trains; "
            "leave it"
        ) from error


@contextmanager
def at_most(more: int) -> Iterator[None]:
    """Let this process take no more than so many bytes beyond what it has; what asks for more fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = psutil.Process().memory_info().vms + more
    known = [bound for bound in (limit, soft, hard) if bound != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(known), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
