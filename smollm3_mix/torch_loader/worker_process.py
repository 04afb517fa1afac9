"""Worker processes that make blocks of records ahead of their use."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import fsspec.asyn

from smollm3_mix.executors.child_process import end_with_parent
from smollm3_mix.torch_loader.worker_blocks import WorkerBlock, WorkerBlocks

POLL_SECONDS = 1.0
"""Seconds between two checks that a worker is alive."""

Context: TypeAlias = Any
"""A context of `multiprocessing`, or the name of a start method."""


@dataclass(frozen=True)
class WorkerOptions:
    """Options of worker processes.

    Attributes:
        prefetch_factor: Number of blocks that a worker makes ahead.
        persistent: Whether to keep the processes for the next iteration from the start.
        context: Context of `multiprocessing`, or the name of a start method. Defaults to that of the platform.
        timeout: Seconds to wait for a block. 0 waits forever.
        init_fn: Called in each worker with its number before it reads.

    Raises:
        ValueError: If the timeout is negative.
    """

    prefetch_factor: int = 5
    persistent: bool = False
    context: Context = None
    timeout: float = 0.0
    init_fn: Callable[[int], None] | None = None

    def __post_init__(self) -> None:
        if self.timeout < 0:
            raise ValueError(f"timeout must not be negative, got {self.timeout!r}. Pass 0 to wait forever.")


@dataclass(frozen=True)
class _Failure:
    """An error of a worker, and its traceback as text."""

    error: bytes | None
    text: str


class WorkerProcess:
    """One worker process. It makes blocks in every iteration, up to `prefetch_factor` of them ahead.

    Args:
        blocks: Blocks to make.
        number: Number of the worker.
        options: Options of the processes.
    """

    def __init__(self, blocks: WorkerBlocks, number: int, options: WorkerOptions) -> None:
        context = options.context
        if context is None or isinstance(context, str):
            context = multiprocessing.get_context(context)
        self.blocks, self._number, self._timeout = blocks, number, options.timeout
        self._receiver, sender = context.Pipe(duplex=False)
        self._credits: Any = context.Semaphore(options.prefetch_factor)
        self._requests: Any = context.SimpleQueue()
        self._process = context.Process(
            target=_work,
            args=(blocks, _Output(sender, self._credits), self._requests, number, options.init_fn),
            name=f"smollm3-mix-worker-{number}",
            daemon=True,
        )
        self._process.start()
        sender.close()  # the pipe then ends when the worker dies, even in the middle of a block
        weakref.finalize(self, _stop, self._process)
        self._iteration = 0

    def iterate(self) -> Iterator[WorkerBlock]:
        """Start an iteration and yield its blocks. Blocks of an earlier iteration are discarded.

        Raises:
            RuntimeError: If the worker dies, or makes no block within the timeout.
        """
        self._iteration += 1
        self._requests.put(self._iteration)
        return self._receive(self._iteration)

    def close(self) -> None:
        """Stop the process."""
        _stop(self._process)

    def _receive(self, iteration: int) -> Iterator[WorkerBlock]:
        while True:
            number, message = self._next_message()
            if number != iteration:
                continue
            if message is None:
                return
            if isinstance(message, _Failure):
                raise _as_error(message, self._number)
            yield message

    def _next_message(self) -> tuple[int, WorkerBlock | _Failure | None]:
        started = time.monotonic()
        try:
            while not self._receiver.poll(POLL_SECONDS):
                if not self._process.is_alive():
                    raise EOFError
                if self._timeout and time.monotonic() - started > self._timeout:
                    raise RuntimeError(
                        f"loader worker {self._number} has made no block for {self._timeout:g} seconds. "
                        "Raise timeout=, or pass 0 to wait forever."
                    )
            message: tuple[int, WorkerBlock | _Failure | None] = self._receiver.recv()
        except (EOFError, OSError):
            self._process.join(POLL_SECONDS)
            raise RuntimeError(
                f"loader worker {self._number} exited with code {self._process.exitcode}. A negative code is a signal, "
                "such as -9 when the system was out of memory."
            ) from None
        if isinstance(message[1], WorkerBlock):
            self._credits.release()
        return message


@dataclass(frozen=True)
class _Output:
    """The worker's end of the pipe. `send_block` waits while `prefetch_factor` blocks have not been read."""

    sender: Any
    credits: Any

    def send_block(self, iteration: int, block: WorkerBlock) -> None:
        self.credits.acquire()
        self.sender.send((iteration, block))

    def send_end(self, iteration: int, failure: _Failure | None = None) -> None:
        self.sender.send((iteration, failure))


def _work(
    blocks: WorkerBlocks, output: _Output, requests: Any, number: int, init_fn: Callable[[int], None] | None
) -> None:
    """Make the blocks of each requested iteration, in the worker process."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C stops the training process, which stops its workers
    fsspec.asyn.reset_lock()  # a forked child inherits the lock but not the thread that would release it
    while True:
        iteration = requests.get()
        try:
            if init_fn is not None:
                init_fn(number)
                init_fn = None
            for block in blocks:
                output.send_block(iteration, block)
                if not requests.empty():  # a new iteration has started
                    break
            else:
                output.send_end(iteration)
        except Exception as error:  # noqa: BLE001 - raised in the training process
            output.send_end(iteration, _failure(error))


def _failure(error: Exception) -> _Failure:
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(content := pickle.dumps(error))  # noqa: S301 - made in this process
    except Exception:  # noqa: BLE001 - some errors cannot be sent, their text can
        return _Failure(None, text)
    return _Failure(content, text)


def _as_error(failure: _Failure, number: int) -> BaseException:
    """Return the error of a worker, with its traceback as the cause."""
    cause = RuntimeError(f"in loader worker {number}:\n{failure.text}")
    if failure.error is None:
        return cause
    error: BaseException = pickle.loads(failure.error)  # noqa: S301 - from a worker of this process
    error.__cause__ = cause
    return error


def _stop(process: Any) -> None:
    if process.is_alive():
        process.terminate()
        process.join(POLL_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
