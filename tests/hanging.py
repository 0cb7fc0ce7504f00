"""For tests of calls that once did not end: an end to them, far from what a slow machine takes."""

import signal
from contextlib import contextmanager


@contextmanager
def interrupted(seconds: int = 60):
    """Raise TimeoutError in whatever still runs after so many seconds."""

    def give_up(*_):
        raise TimeoutError(f"it must end at once; after {seconds} seconds it had not")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
