"""How the books tell of patients."""


def told(count: int, minimum: int) -> str:
    """How many patients, without telling of a few: in tens, and below the hospital's minimum only that.

    Exact counts on two days, or of two studies, would differ by the one patient who has left.
    """
    if count < minimum:
        return f"fewer than {minimum}"
    return f"about {max(minimum, round(count / 10) * 10):,}"
