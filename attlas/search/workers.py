"""Several processes that work on one study, each with its share of the machine's threads.

Each speaks through a pipe of its own: a worker that is killed in the middle of a sentence harms nobody else's, and one whose
parent is gone ends with its next word.
"""

from __future__ import annotations

import multiprocessing
import os
from contextlib import closing, suppress
from multiprocessing.connection import Connection, wait

import numba
import torch

from attlas.search.loop import Listener, work
from attlas.search.plan import Plan
from attlas.search.study import Study, quiet
from attlas.search.tried import Tried


def work_together(plan: Plan, workers: int, listener: Listener) -> None:
    """Let so many processes work until none finds anything to begin; what a killed one leaves is another's.

    Raises:
        Exception: whatever stopped one of them; the others are stopped too.
    """
    spawn = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // workers)
    pipes, processes = [], []
    try:
        for _ in range(workers):
            heard, spoken = spawn.Pipe(duplex=False)
            processes.append(spawn.Process(target=_worker, args=(plan, threads, spoken), daemon=True))
            processes[-1].start()
            spoken.close()
            pipes.append(heard)
        _listen(pipes, plan.trials, listener)
    finally:
        for process in processes:
            process.terminate()
            process.join()
            process.close()
        for pipe in pipes:
            pipe.close()


def _listen(pipes: list[Connection], of: int, listener: Listener) -> None:
    open_pipes = list(pipes)
    while open_pipes:
        for pipe in wait(open_pipes):
            assert isinstance(pipe, Connection)
            try:
                said = pipe.recv()
            except (EOFError, OSError):  # its speaker has ended, or was killed within a sentence
                open_pipes.remove(pipe)
                continue
            if isinstance(said, BaseException):
                raise said
            if isinstance(said, Tried):
                listener.ended(said, of)
            else:
                listener.note(*said)


class _Speaking:
    """Passes on what is heard to the process that began the search."""

    def __init__(self, pipe: Connection):
        self.pipe = pipe

    def note(self, number: int, text: str) -> None:
        """Pass it on."""
        self.pipe.send((number, text))

    def ended(self, tried: Tried, of: int) -> None:
        """Pass it on."""
        self.pipe.send(tried)


def _worker(plan: Plan, threads: int, pipe: Connection) -> None:
    torch.set_num_threads(threads)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    try:
        with quiet(), closing(Study(plan)) as study:
            work(plan, study, _Speaking(pipe))
    except (KeyboardInterrupt, BrokenPipeError):  # the person, or the parent's end
        os._exit(1)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where the search began
        with suppress(OSError):
            pipe.send(error)
