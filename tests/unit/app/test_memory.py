"""Memory that connections took is given back."""

import ctypes

from landline.app.memory import GROWN_BYTES, FreedMemory, resident_bytes

BLOCK = 100_000
"""Small enough for glibc to take it from its heap."""


def test_what_is_free_between_blocks_in_use_goes_back_to_the_system() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    libc.malloc_trim(0)  # what other tests left would be used first
    memory = FreedMemory()
    before = resident_bytes()
    blocks = [libc.malloc(BLOCK) for _ in range(3 * GROWN_BYTES // BLOCK)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK)
    for block in blocks[::2]:
        libc.free(block)
    grown = resident_bytes() - before
    memory.look()
    assert resident_bytes() - before < grown * 3 // 4
    for block in blocks[1::2]:
        libc.free(block)
