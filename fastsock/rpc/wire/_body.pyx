"""Long bodies: gathered where they arrive, and sent without a copy where nobody can change them."""

import sys
from weakref import getweakrefcount

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.ref cimport Py_REFCNT
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

cdef enum:
    FIRST_BYTES = 1 << 18
    SPARE_BYTES_MAX = 1 << 24


cdef struct Block:
    char *data
    Py_ssize_t capacity


# The memory of a body that has gone, for the next one: fresh memory would cost a page fault for
# each 4 KiB, which takes longer than receiving them.
cdef Block spare


cdef void give_back(Block block) noexcept:
    global spare
    if spare.capacity < block.capacity <= SPARE_BYTES_MAX:
        spare, block = block, spare
    free(block.data)


@cython.final
cdef class Body:
    """Memory for a body of ``total`` bytes that arrives in pieces. It grows with them, whatever
    was announced. A writable buffer of what has arrived, of which ``len`` tells the size."""

    cdef Block block
    cdef Py_ssize_t size, views
    cdef readonly Py_ssize_t total

    def __cinit__(self, Py_ssize_t total):
        self.total = total

    def __dealloc__(self):
        give_back(self.block)

    def __len__(self):
        return self.size

    def add(self, bytes frame not None, Py_ssize_t at):
        """Adds what the frame holds from there on. Returns how many bytes are missing still; if
        that is negative there were too many, and none were added."""
        cdef Py_ssize_t size = len(frame) - at
        if not 0 <= at <= len(frame):
            raise ValueError(f"a frame of {len(frame)} bytes has no byte {at}")
        if size > self.total - self.size:
            return self.total - self.size - size
        if size:
            self.reserve(self.size + size)
            memcpy(self.block.data + self.size, <const char *>frame + at, size)
        self.size += size
        return self.total - self.size

    cdef int reserve(self, Py_ssize_t size) except -1:
        global spare
        cdef Py_ssize_t capacity = self.block.capacity
        cdef char *data
        if self.views:
            raise BufferError("a body that is looked at cannot grow")
        # Not for a body that would hold much more than it needs, perhaps for long.
        if capacity == 0 and spare.capacity <= 2 * self.total and self.total > FIRST_BYTES:
            self.block, spare = spare, self.block
            capacity = self.block.capacity
        if size <= capacity:
            return 0
        while capacity < size:
            capacity = min(self.total, max(2 * capacity, FIRST_BYTES))
        data = <char *>realloc(self.block.data, capacity)
        if data is NULL:
            raise MemoryError
        self.block = Block(data, capacity)
        return 0

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.block.data, self.size, False, flags)
        self.views += 1

    def __releasebuffer__(self, Py_buffer *buffer):
        self.views -= 1


def call_method(function, list taken):
    """Calls ``function(*taken[0])``, and empties ``taken``. Returns the result, and whether nobody
    but the caller can change it: so that it need not be copied before it is sent."""
    arguments = taken.pop()
    result = function(*arguments)
    arguments = None
    return result, is_own(result)


cdef bint is_own(result):
    """Whether this is an array to which only the caller refers, once, and which shows bytes of its
    own, or those of a Body that nobody else looks at."""
    numpy = sys.modules.get("numpy")
    if numpy is None or type(result) is not numpy.ndarray or Py_REFCNT(result) != 1:
        return False
    if getweakrefcount(result):  # A cache can give it to others.
        return False
    owns, base = result.flags.owndata, result.base
    while type(base) is numpy.ndarray:
        if Py_REFCNT(base) != 2 or getweakrefcount(base):  # Ours, and that of the array before.
            return False
        owns, base = base.flags.owndata, base.base
    if base is None:
        return owns
    return type(base) is memoryview and Py_REFCNT(base) == 2 and type(base.obj) is Body
