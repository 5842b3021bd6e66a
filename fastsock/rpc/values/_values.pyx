"""What a peer's maps may cost.

A dict takes quadratic time if its keys are chosen so that all of them look for their places
in the same order. Text and bytes cannot be chosen so: their hashes have a secret. All others can.
"""

import msgspec

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

cdef enum:
    # So few keys cost little, however they are chosen.
    FEW_KEYS = 32

    # Steps that each key may take. Keys that nobody chose to do harm take two to twenty.
    STEPS_MAX = 64

    # Steps that count for a comparison of two keys with one hash, which may be Python's.
    COMPARING_STEPS = 32

    PERTURB_SHIFT = 5  # As in CPython.

    LEVELS_MAX = 4096
    PLAIN_LEVELS_MAX = 1000


def check_maps(const uint8_t[::1] data not None):
    """ValueError if MessagePack has a map from which to make a dict takes more than linear time.
    What is not MessagePack passes: whoever decodes it says what is wrong."""
    cdef dict checked = {}
    cdef uint64_t left[LEVELS_MAX]
    cdef uint8_t is_map[LEVELS_MAX]
    cdef Py_ssize_t at = 0, size = data.shape[0], skipped, end
    cdef int level = 0
    cdef uint8_t head
    left[0], is_map[0] = 1, 0
    while True:
        while left[level] == 0:
            if level in checked:
                check_keys(checked.pop(level))
            if level == 0:
                return
            level -= 1
        if at >= size:
            return
        head = data[at]
        if is_map[level] and left[level] % 2 == 0 and not is_text(head):
            end = end_of_key(data, at)
            if end > 0:
                key = b"\x81" + bytes(data[at:end]) + b"\xc0"
                checked.setdefault(level, []).extend(_decode(key))
        left[level] -= 1
        at += 1
        if head & 0xE0 == 0x80 or 0xDC <= head <= 0xDF:  # An array or a map.
            level += 1
            if level == LEVELS_MAX:
                raise ValueError("it is nested too deep")
            is_map[level] = head & 0xF0 == 0x80 or head >= 0xDE
            left[level] = head & 0x0F
            if head >= 0xDC:
                skipped = 4 if head & 1 else 2
                if size - at < skipped:
                    return
                left[level] = number_of(&data[at], skipped)
                at += skipped
            if is_map[level]:
                left[level] *= 2
            continue
        skipped = length_of(head, &data[at] if at < size else NULL, size - at)
        if skipped < 0 or skipped > size - at:
            return
        at += skipped


_decode = msgspec.msgpack.Decoder().decode


cdef Py_ssize_t end_of_key(const uint8_t[::1] data, Py_ssize_t at) except? -1:
    """Where a key ends that is a number, an extension, or arrays of those; -1 if it does not end,
    or has a map in it."""
    cdef uint64_t left = 1
    cdef Py_ssize_t size = data.shape[0], skipped
    cdef uint8_t head
    while left:
        if at >= size:
            return -1
        head = data[at]
        at += 1
        left -= 1
        if head & 0xF0 == 0x80 or head >= 0xDE and head <= 0xDF:
            return -1
        if head & 0xF0 == 0x90:
            left += head & 0x0F
            continue
        if head == 0xDC or head == 0xDD:
            skipped = 4 if head & 1 else 2
            if size - at < skipped:
                return -1
            left += number_of(&data[at], skipped)
        else:
            skipped = length_of(head, &data[at] if at < size else NULL, size - at)
        if skipped < 0 or skipped > size - at:
            return -1
        at += skipped
    return at


cdef inline bint is_text(uint8_t head) noexcept:
    """Whether a text or bytes begin so."""
    return head & 0xE0 == 0xA0 or 0xC4 <= head <= 0xC6 or 0xD9 <= head <= 0xDB


cdef inline uint64_t number_of(const uint8_t *place, Py_ssize_t size) noexcept:
    cdef uint64_t number = 0
    cdef Py_ssize_t at
    for at in range(size):
        number = number << 8 | place[at]
    return number


cdef Py_ssize_t length_of(uint8_t head, const uint8_t *rest, Py_ssize_t size) noexcept:
    """How many bytes follow the first one of what is no array and no map; -1 if they are not
    there."""
    cdef Py_ssize_t count_bytes = 0, beside = 0
    if head & 0xE0 == 0xA0:
        return head & 0x1F
    if head < 0xC0 or head >= 0xE0 or 0xC0 <= head <= 0xC3:
        return 0
    if 0xC4 <= head <= 0xC9:  # Bytes, and extensions, which have their type beside.
        count_bytes = 1 << (head - 0xC4) % 3
        beside = head >= 0xC7
    elif 0xD9 <= head <= 0xDB:
        count_bytes = 1 << (head - 0xD9)
    elif 0xD4 <= head <= 0xD8:
        return 1 + (1 << (head - 0xD4))
    elif head == 0xCA:
        return 4
    elif head == 0xCB:
        return 8
    else:  # Integers of 1, 2, 4 or 8 bytes.
        return 1 << (head & 3)
    if size < count_bytes:
        return -1
    return count_bytes + beside + <Py_ssize_t>number_of(rest, count_bytes)


def is_plain(value, int depth):
    """Whether the value is made of None, numbers, texts, bytes, lists and dicts alone."""
    return plain(value, depth)


cdef bint plain(value, int depth) except -1:
    cdef type kind = type(value)
    if value is None or kind in (str, int, float, bool, bytes):
        return True
    if depth == PLAIN_LEVELS_MAX:
        return False
    if kind is list or kind is tuple:
        for each in value:
            if not plain(each, depth + 1):
                return False
        return True
    if kind is dict:
        for key, each in (<dict>value).items():
            if not (plain(key, depth + 1) and plain(each, depth + 1)):
                return False
        return True
    return False


def check_keys(list keys not None):
    """ValueError if a dict of these keys takes more than linear time to make; TypeError if one has
    no hash."""
    if len(keys) > FEW_KEYS:
        Table(keys).fill()
    else:
        for each in keys:
            hash(each)


@cython.final
cdef class Table:
    """Finds the places of keys as CPython's dict does, and counts the steps."""

    cdef list keys
    cdef Py_ssize_t *hashes
    cdef int32_t *slots
    cdef size_t mask
    cdef Py_ssize_t used, steps_left

    def __cinit__(self, list keys):
        self.keys = keys
        self.steps_left = STEPS_MAX * len(keys)
        if len(keys) >= 1 << 30:
            raise ValueError(f"{len(keys)} keys")
        self.hashes = <Py_ssize_t *>PyMem_Malloc(len(keys) * sizeof(Py_ssize_t))
        if self.hashes is NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.hashes)
        PyMem_Free(self.slots)

    cdef int fill(self) except -1:
        cdef Py_ssize_t number
        self.resize(0, 8)
        for number in range(len(self.keys)):
            self.hashes[number] = hash(self.keys[number])
            if not self.add(number, True):
                continue
            self.used += 1
            if self.is_full():
                self.resize(number + 1, self.wanted())
        return 0

    cdef bint is_full(self) noexcept:
        return self.used >= <Py_ssize_t>(self.mask + 1) * 2 // 3

    cdef size_t wanted(self) noexcept:
        cdef size_t size = 8, least = self.used * 3
        while size < least:
            size *= 2
        return size

    cdef int resize(self, Py_ssize_t count, size_t size) except -1:
        """A table of that size, with the first ``count`` keys."""
        cdef Py_ssize_t number
        PyMem_Free(self.slots)
        self.slots = <int32_t *>PyMem_Malloc(size * sizeof(int32_t))
        if self.slots is NULL:
            raise MemoryError
        memset(self.slots, 0xFF, size * sizeof(int32_t))
        self.mask = size - 1
        for number in range(count):
            self.add(number, False)
        return 0

    cdef bint add(self, Py_ssize_t number, bint compared) except -1:
        """Finds the place of a key; False if an equal one is there."""
        cdef Py_ssize_t hashed = self.hashes[number]
        cdef size_t perturb = <size_t>hashed, place = perturb & self.mask
        cdef int32_t other
        while True:
            other = self.slots[place]
            if other < 0:
                self.slots[place] = <int32_t>number
                return True
            self.steps_left -= 1
            if compared and self.hashes[other] == hashed:
                self.steps_left -= COMPARING_STEPS
                if self.keys[other] is self.keys[number] or self.keys[other] == self.keys[number]:
                    return False
            if self.steps_left < 0:
                raise ValueError(f"a map of {len(self.keys)} keys that collide")
            perturb >>= PERTURB_SHIFT
            place = place * 5 + perturb + 1 & self.mask
