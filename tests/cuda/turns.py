"""The simulator's threads one after the other, each until the next barrier.

Numba's own run all at once and are asked again and again whether they have come to the barrier:
most of the time goes into that, and whether a missing barrier is noticed is chance. Here it is
not: the order turns round at every barrier, and begins at the other end from block to block.
"""

import itertools
import threading

import numpy as np
from numba.cuda.simulator import kernel as simulator


class Worker(simulator.BlockThread):
    """A thread that stands for one of CUDA's in each block that it is called to."""

    def __init__(self):
        threading.Thread.__init__(self, daemon=True)
        self.turn = threading.Lock()
        self.turn.acquire()
        self.start()

    def begin(self, block, number, block_number, thread_number):
        self._manager, self.thread_id, self.abort = block, number, False
        self.blockIdx = simulator.Dim3(*block_number)
        self.threadIdx = simulator.Dim3(*thread_number)

    def run(self):
        while True:
            self.turn.acquire()
            block = self._manager
            try:
                if not self.abort:
                    block.kernel()
            except BaseException as error:
                block.failed = block.failed or (self.threadIdx, self.blockIdx, error)
            block.pass_on(None)

    def syncthreads(self):
        self._manager.pass_on(self)
        if self.abort:
            raise RuntimeError("another thread of the block failed")


WORKERS = []
FORWARD = itertools.cycle([True, False])


class Block(simulator.BlockManager):
    """A block of threads that take turns."""

    def run(self, number, *arguments):
        self.kernel = lambda: self._f(*arguments)
        places = [point[::-1] for point in np.ndindex(*self._block_dim[::-1])]
        while len(WORKERS) < len(places):
            WORKERS.append(Worker())
        threads = WORKERS[: len(places)]
        for k, (thread, place) in enumerate(zip(threads, places, strict=True)):
            thread.begin(self, k, number, place)
        self.failed = None
        self.done = threading.Lock()
        self.done.acquire()
        # The next one to go is the last of `going`; who has come to the barrier waits.
        self.going = threads[::-1] if next(FORWARD) else threads
        self.waiting = []
        self.going.pop().turn.release()
        self.done.acquire()
        if self.failed is not None:
            thread, block, error = self.failed
            raise RuntimeError(f"thread {thread} of block {block}") from error

    def pass_on(self, thread):
        """Let the next thread run; `thread`, if any, goes on after the barrier."""
        if thread is not None:
            self.waiting.append(thread)
        if not self.going:
            self.going, self.waiting = self.waiting, []
        if not self.going:
            self.done.release()
            return
        following = self.going.pop()
        following.abort = self.failed is not None
        if following is not thread:
            following.turn.release()
            if thread is not None:
                thread.turn.acquire()


def take_turns():
    """Let Numba's simulator run blocks in this way."""
    simulator.BlockManager = Block
