"""CPU kernels of ``ops/correlation.py``: parallel over rows of the result, and so the same bits on every run."""

from __future__ import annotations

from numba import njit, prange


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _add_windows(weight_K, line_L, out_N):
    """out[n] += sum over k of weight[k] * line[k + n]."""
    k, count, size = 0, weight_K.shape[0], out_N.shape[0]
    # Four windows at a time: the sum so far is read and written once for all of them.
    while k + 4 <= count:
        p, q, r, s = weight_K[k], weight_K[k + 1], weight_K[k + 2], weight_K[k + 3]
        a, b, c, d = line_L[k : k + size], line_L[k + 1 :], line_L[k + 2 :], line_L[k + 3 :]
        for n in range(size):
            out_N[n] += (p * a[n] + q * b[n]) + (r * c[n] + s * d[n])
        k += 4
    while k < count:
        p, a = weight_K[k], line_L[k : k + size]
        for n in range(size):
            out_N[n] += p * a[n]
        k += 1


@njit(cache=True, parallel=True, nogil=True, error_model="numpy", fastmath={"contract"})
def correlate(left_GD, left_B, line_HL, right_B, out_BE):
    """out[b, t] = sum over d of left[left_b, d] * line[right_b, d + t]."""
    for b in prange(out_BE.shape[0]):
        out_E = out_BE[b]
        for t in range(out_E.shape[0]):
            out_E[t] = 0.0
        _add_windows(left_GD[left_B[b]], line_HL[right_B[b]], out_E)


@njit(cache=True, parallel=True, nogil=True, error_model="numpy", fastmath={"contract"})
def sum_correlations(first_G1, pair_B, weight_BK, line_HL, line_B, sum_GN):
    """sum[g, n] = sum over the pairs b of g, and over k, of weight[b, k] * line[line_b, k + n]."""
    for g in prange(sum_GN.shape[0]):
        sum_N = sum_GN[g]
        for n in range(sum_N.shape[0]):
            sum_N[n] = 0.0
        for b in pair_B[first_G1[g] : first_G1[g + 1]]:
            _add_windows(weight_BK[b], line_HL[line_B[b]], sum_N)
