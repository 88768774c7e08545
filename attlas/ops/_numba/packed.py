"""CPU kernels of ``ops/packed.py``: parallel over rows, each of which one thread works on alone."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from attlas.ops._numba.ridge import BLOCK, _factorise, _substitute


@njit(cache=True, parallel=True, nogil=True)
def outer_products(table_ED, out_EP):
    """out[e] = the upper triangle of row e times itself, row by row."""
    dim = table_ED.shape[1]
    for e in prange(len(table_ED)):
        value_D, first = table_ED[e], 0
        for r in range(dim):
            on, right, out = value_D[r], value_D[r:], out_EP[e, first : first + dim - r]
            for k in range(len(right)):
                out[k] = on * right[k]
            first += dim - r


@njit(cache=True, parallel=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def cholesky(gram_GP, right_GD, penalty_G, threads, x_GD):
    """x[g] becomes row g's solution; returns how many rows have none in floats."""
    failed = np.zeros(threads, np.int64)
    dim = right_GD.shape[1]
    for thread in prange(threads):
        normal_DD = np.empty((dim, dim), gram_GP.dtype)
        for block in range(thread * BLOCK, len(x_GD), threads * BLOCK):
            for g in range(block, min(block + BLOCK, len(x_GD))):
                first = 0
                for r in range(dim):
                    normal_DD[r, r:] = gram_GP[g, first : first + dim - r]
                    normal_DD[r, r] += penalty_G[g]
                    first += dim - r
                x_GD[g] = right_GD[g]
                if _factorise(normal_DD):
                    _substitute(normal_DD, x_GD[g])
                else:
                    failed[thread] += 1
    return failed.sum()
