"""Exit a child process with its parent."""

import os
import threading
from multiprocessing import parent_process
from typing import Any


def end_with_parent() -> None:
    """Nothing; this process ends when the one that started it has ended.

    Killed, that one cannot say so: workers of a pool would write on beside the next writer, then wait for ever.
    """
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)
