"""What this process costs its machine, and whether anybody reads what it prints."""

import os
import sys


def peak_memory() -> str:
    """Largest resident memory of this process so far, as `812 MB`; `unknown` where the platform does not say."""
    try:
        import resource
    except ImportError:  # Windows has no such module
        return "unknown"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{peak * (1 if sys.platform == 'darwin' else 1024) / 1e6:.0f} MB"


def open_files() -> str:
    """Number of file descriptors of this process; `unknown` where the platform does not list them."""
    try:
        return str(len(os.listdir("/dev/fd")))  # noqa: PTH208 - a device folder, not a path of ours
    except OSError:
        return "unknown"


def printed(text: str = "") -> bool:
    """Whether standard output takes the text and all before it; from the time its reader has gone on, it takes nothing.

    `take … | head` ends quietly so. The signal of a broken pipe stays off: a connection that breaks would end the whole
    process by it, without a word.
    """
    try:
        sys.stdout.write(text)
        if not text:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed at the end
        return False
    return True
