"""Exit a child process with its parent."""

import os
import threading
from multiprocessing import parent_process
from typing import Any


def end_with_parent() -> None:
    """Exit this process when its parent exits.

    A killed parent cannot stop its workers. They would write beside the next writer, then wait forever.
    """
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)
