"""What this process costs its machine."""

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
