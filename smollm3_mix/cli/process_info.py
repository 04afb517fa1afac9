"""Memory and open files of this process, and output that ends quietly when its reader exits."""

import os
import sys


def peak_memory() -> str:
    """Return the peak resident memory of this process, such as `812 MB`, or `unknown` if the platform has no count."""
    try:
        import resource
    except ImportError:  # not on Windows
        return "unknown"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{peak * (1 if sys.platform == 'darwin' else 1024) / 1e6:.0f} MB"


def open_files() -> str:
    """Return the number of open file descriptors, or `unknown` if the platform does not list them."""
    try:
        return str(len(os.listdir("/dev/fd")))  # noqa: PTH208 - a device folder
    except OSError:
        return "unknown"


def printed(text: str = "") -> bool:
    """Write text to standard output. Return False if its reader has closed it, as `head` does.

    Without a text, flush. SIGPIPE stays ignored, because a broken network connection would end the process by it
    without a message.
    """
    try:
        sys.stdout.write(text)
        if not text:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return False
    return True
