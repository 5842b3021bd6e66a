"""What a peer's values may cost.

A dict or a set takes quadratic time if its keys are chosen so that all of them look for their
places in the same order. Text and bytes cannot be chosen so: their hashes have a secret. All others
can, those that travel as text included, such as UUIDs and Decimals.
"""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int32_t, uint8_t, uint64_t
from libc.string cimport memset

cdef enum:
    # So few keys cost little, however they are chosen.
    FEW_KEYS = 32

    # Steps that each key may take in a dict. Keys that nobody chose to do harm take two to twenty.
    STEPS_MAX = 64

    # The same in a set, where most steps are to the next slot; multiples of powers of two take 150.
    SET_STEPS_MAX = 384

    # So many comparisons of two keys with one hash may each key take: they may be Python's.
    COMPARISONS_MAX = 2

    PERTURB_SHIFT = 5  # As in CPython.
    LINEAR_PROBES = 9

    LEVELS_MAX = 4096
    PLAIN_LEVELS_MAX = 1000


def weigh(const uint8_t[::1] data not None, Py_ssize_t limit, Py_ssize_t array, Py_ssize_t map,
          Py_ssize_t text, Py_ssize_t long_text):
    """What MessagePack weighs, see weights.py; any number above the limit if it is more. What
    follows a value that does not end is not counted: decoding ends there."""
    cdef Py_ssize_t weight
    if not data.shape[0]:
        return 0
    with nogil:
        weight = weight_of(&data[0], data.shape[0], limit, Weights(array, map, text, long_text))
    return weight


cdef struct Weights:
    Py_ssize_t array, map, text, long_text


cdef Py_ssize_t weight_of(const uint8_t *data, Py_ssize_t size, Py_ssize_t limit,
                          Weights weights) noexcept nogil:
    cdef Py_ssize_t at = 0, begins, left = 1, weight = 0, count
    cdef int kind
    while left > 0 and at < size and weight <= limit:
        begins = at
        left -= 1
        if data[at] < 0x80 or data[at] >= 0xE0:  # A small number.
            at += 1
            weight += 1
            continue
        count = 0
        kind = head_of(data, size, &at, &count)
        if at < 0:
            break
        if kind == SCALAR:
            weight += weight_of_scalar(data[begins], at - begins, weights)
        else:
            left += count * (2 if kind == MAP else 1)
            weight += weights.map if kind == MAP else weights.array
    return weight


cdef Py_ssize_t weight_of_scalar(uint8_t head, Py_ssize_t size,
                                        Weights weights) noexcept nogil:
    if 0xC4 <= head <= 0xC6:
        return 2 + size // 1024
    if is_text(head):
        return weights.text + size // 64 + (weights.long_text if size > 32 else 0)
    return 8 + size // 64 if 0xC7 <= head <= 0xC9 or 0xD4 <= head <= 0xD8 else 1


cdef class Place:
    """Where a value may stand in a type, and what becomes of it there.

    ``items`` is the place of an array's items, ``fixed`` those of the first ones where each has its
    own; ``keys`` and ``values`` are the places of a map's keys and values, ``fields`` those of a
    record by their packed names. None: nothing in there is hashed. ``read_items`` read the items of
    an array that becomes a set, ``read_keys`` the keys of a map that becomes a dict: all take a map
    of such keys. ``skip_text``: keys of text do not count.
    """

    cdef public Place items, keys, values
    cdef public list fixed
    cdef public dict fields
    cdef readonly list read_items, read_keys
    cdef public bint skip_text

    def __cinit__(self):
        self.read_items, self.read_keys = [], []


def check_hashes(const uint8_t[::1] data not None, Place place not None):
    """ValueError if MessagePack has a map or an array from which to make a dict or a set takes more
    than linear time, in a value of that place. What is not MessagePack passes: the decoder
    says what is wrong."""
    walk(Walk(data, 16 * data.shape[0]), 0, place, 0)


@cython.final
cdef class Walk:
    """Bytes that are walked, and how many of them may be read as keys: sets may hold sets."""

    cdef const uint8_t[::1] data
    cdef Py_ssize_t left

    def __init__(self, const uint8_t[::1] data, Py_ssize_t left):
        self.data = data
        self.left = left


cdef Py_ssize_t walk(Walk on, Py_ssize_t at, Place place, int level) except -2:
    """Checks what begins there. Returns where it ends; -1 if it does not end."""
    cdef Py_ssize_t size = on.data.shape[0], number, begins, count = 0
    cdef list keys = None, readers
    cdef Place inner
    cdef int kind
    if place is None:
        return end_of(on.data, at)
    if level == LEVELS_MAX:
        raise ValueError("it is nested too deep")
    kind = head_of(&on.data[0], size, &at, &count)
    if kind == SCALAR:
        return at
    readers = place.read_items if kind == ARRAY else place.read_keys
    if readers and FEW_KEYS < count <= size - at:
        keys = []
    for number in range(count):
        begins = at
        if kind == MAP:
            at = step(on, at, place.keys, level)
            if at < 0:
                break
            if keys is not None and not (place.skip_text and is_text(on.data[begins])):
                keys.append(bytes(on.data[begins:at]))
            inner = place.values
            if place.fields is not None:
                inner = place.fields.get(bytes(on.data[begins:at]), inner)
            at = step(on, at, inner, level)
        else:
            inner = place.items
            if place.fixed is not None and number < len(place.fixed):
                inner = place.fixed[number]
            at = step(on, at, inner, level)
            if at >= 0 and keys is not None:
                keys.append(bytes(on.data[begins:at]))
        if at < 0:
            break
    if keys is not None and len(keys) > FEW_KEYS:
        for read in readers:
            check_packed(on, keys, read, kind == ARRAY)
    return at


cdef inline Py_ssize_t step(Walk on, Py_ssize_t at, Place inner, int level) except -2:
    """As ``walk`` one level deeper, and at once over what is no array and no map."""
    cdef Py_ssize_t size = on.data.shape[0], skipped
    cdef uint8_t head
    if at >= size:
        return -1
    head = on.data[at]
    if head & 0xE0 == 0x80 or 0xDC <= head <= 0xDF:
        return walk(on, at, inner, level + 1)
    skipped = length_of(head, &on.data[0] + at + 1, size - at - 1)
    return -1 if skipped < 0 or skipped >= size - at else at + 1 + skipped


cdef int check_packed(Walk on, list packed, read, bint in_set) except -1:
    """Checks keys that are packed. Those behind one that cannot be read do not count: decoding
    ends there."""
    cdef list keys = []
    cdef Py_ssize_t first
    for first in range(0, len(packed), FEW_KEYS):
        few = packed[first:first + FEW_KEYS]
        joined = b"\xde\x00" + bytes([len(few)]) + b"\xc0".join(few) + b"\xc0"
        on.left -= len(joined)
        if on.left < 0:
            raise ValueError("its sets are nested too deep")
        try:
            keys.extend(read(joined))
        except Exception:
            break
        with nogil:  # Others may run before the next few.
            pass
    check_keys(keys, in_set)
    return 0


cdef enum:
    SCALAR, ARRAY, MAP


cdef int head_of(const uint8_t *data, Py_ssize_t size, Py_ssize_t *at,
                 Py_ssize_t *count) noexcept nogil:
    """Whether an array or a map begins there; then ``at`` is moved to its first item. ``at`` is
    moved behind anything else, and is -1 if the bytes end before that."""
    cdef Py_ssize_t skipped
    cdef uint8_t head
    cdef bint is_map
    if at[0] >= size:
        at[0] = -1
        return SCALAR
    head = data[at[0]]
    at[0] += 1
    if not (head & 0xE0 == 0x80 or 0xDC <= head <= 0xDF):
        skipped = length_of(head, data + at[0], size - at[0])
        at[0] = -1 if skipped < 0 or skipped > size - at[0] else at[0] + skipped
        return SCALAR
    is_map = head & 0xF0 == 0x80 or head >= 0xDE
    count[0] = head & 0x0F
    if head >= 0xDC:
        skipped = 4 if head & 1 else 2
        if size - at[0] < skipped:
            at[0] = -1
            return SCALAR
        count[0] = number_of(data + at[0], skipped)
        at[0] += skipped
    return MAP if is_map else ARRAY


cdef Py_ssize_t end_of(const uint8_t[::1] data, Py_ssize_t at) except -2:
    """Where what begins there ends; -1 if it does not end."""
    cdef Py_ssize_t left = 1, count, size = data.shape[0]
    cdef int kind
    while left:
        count = 0
        kind = head_of(&data[0], size, &at, &count)
        if at < 0:
            return -1
        left += count * (2 if kind == MAP else 1) - 1
        if left > size - at:
            return -1
    return at


cdef inline bint is_text(uint8_t head) noexcept nogil:
    """Whether a text or bytes begin so."""
    return head & 0xE0 == 0xA0 or 0xC4 <= head <= 0xC6 or 0xD9 <= head <= 0xDB


cdef inline uint64_t number_of(const uint8_t *place, Py_ssize_t size) noexcept nogil:
    cdef uint64_t number = 0
    cdef Py_ssize_t at
    for at in range(size):
        number = number << 8 | place[at]
    return number


cdef Py_ssize_t length_of(uint8_t head, const uint8_t *rest, Py_ssize_t size) noexcept nogil:
    """How many bytes follow the first one of what is no array and no map; -1 if they are not
    there."""
    cdef Py_ssize_t count_bytes = 0, beside = 0
    if head < 0x80 or head >= 0xE0 or 0xC0 <= head <= 0xC3:
        return 0
    if head & 0xE0 == 0xA0:
        return head & 0x1F
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


def check_keys(list keys not None, bint in_set=False):
    """ValueError if a dict of these keys, or a set, takes more than linear time to make; TypeError
    if one has no hash."""
    if len(keys) > FEW_KEYS:
        Table(keys, in_set).fill()
    else:
        for each in keys:
            hash(each)


@cython.final
cdef class Table:
    """Finds the places of keys as CPython's dict or set does, and counts the steps."""

    cdef list keys
    cdef Py_ssize_t *hashes
    cdef int32_t *slots
    cdef size_t mask
    cdef Py_ssize_t used, steps_left, comparing_steps
    cdef bint in_set

    def __cinit__(self, list keys, bint in_set):
        self.keys = keys
        self.in_set = in_set
        self.comparing_steps = (SET_STEPS_MAX if in_set else STEPS_MAX) // COMPARISONS_MAX
        self.steps_left = COMPARISONS_MAX * self.comparing_steps * len(keys)
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
            if number % FEW_KEYS == 0:
                with nogil:
                    pass
            if not self.add(number, True):
                continue
            self.used += 1
            if self.is_full():
                self.resize(number + 1, self.wanted())
        return 0

    cdef bint is_full(self) noexcept:
        if self.in_set:
            return self.used * 5 >= <Py_ssize_t>self.mask * 3
        return self.used >= <Py_ssize_t>(self.mask + 1) * 2 // 3

    cdef size_t wanted(self) noexcept:
        cdef size_t size = 8, least = self.used * 3
        if self.in_set:
            least = self.used * (2 if self.used > 50000 else 4) + 1
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
        cdef size_t perturb = <size_t>hashed, place = perturb & self.mask, beside
        cdef int32_t other
        while True:
            for beside in range(place, place + self.besides(place) + 1):
                other = self.slots[beside]
                if other < 0:
                    self.slots[beside] = <int32_t>number
                    return True
                self.steps_left -= 1
                if compared and self.hashes[other] == hashed and self.are_equal(number, other):
                    return False
            if self.steps_left < 0:
                raise ValueError(f"{len(self.keys)} keys that collide")
            perturb >>= PERTURB_SHIFT
            place = place * 5 + perturb + 1 & self.mask

    cdef inline size_t besides(self, size_t place) noexcept:
        """How many of the next slots a set tries before it jumps; a dict jumps at once."""
        return LINEAR_PROBES if self.in_set and place + LINEAR_PROBES <= self.mask else 0

    cdef bint are_equal(self, Py_ssize_t number, Py_ssize_t other) except -1:
        self.steps_left -= self.comparing_steps
        return self.keys[other] is self.keys[number] or self.keys[other] == self.keys[number]
