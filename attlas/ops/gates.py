"""A softmax over the dimensions of both sides of a pair, of every row of one table with every row of another.

exp(a + b) is exp(a) exp(b): what is left of a pair is one product of a row that is the same for all who ask with a matrix that
is the same for all who are asked, and a division. Shapes: V rows that ask, I that are asked, D dimensions of a side, G = 2 D
gates, H units.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 1e-30  # below, single precision has lost terms of a sum of exponentials that count in it


def ready_gates(logit_IG: Tensor, sum_ID: Tensor) -> Tensor:
    """What of the gates is alike for all who ask, [I, 3D].

    Args:
        logit_IG: the share of the gates' logits that is the row's.
        sum_ID: what the last D gates weigh.
    """
    exp_IG = (logit_IG - logit_IG.amax(-1, keepdim=True)).exp()
    of_other_ID, own_ID = exp_IG.split(sum_ID.shape[1], dim=-1)
    return torch.cat([of_other_ID, own_ID * sum_ID, own_ID], dim=-1)


def ready_gates_reference(logit_IG: Tensor, sum_ID: Tensor) -> Tensor:
    """``ready_gates``, row by row."""
    rows = []
    for logit_G, sum_D in zip(logit_IG, sum_ID, strict=True):
        exp_G, dim = (logit_G - logit_G.max()).exp(), len(sum_D)
        rows.append(torch.cat([exp_G[:dim], exp_G[dim:] * sum_D, exp_G[dim:]]))
    return torch.stack(rows)


def gated_products(
    logit_VG: Tensor,
    sum_VD: Tensor,
    logit_IG: Tensor,
    sum_ID: Tensor,
    weight_HG: Tensor,
    ready_I3D: Tensor | None = None,
) -> Tensor:
    """W (softmax(a + b) * [x; y]) of every pair, [V, I, H], where a and x are of who asks, b and y of who is asked.

    Where the largest logits of two sides stand so far apart that exponentials of both vanish, softmax is taken pair by pair.

    Args:
        logit_VG, logit_IG: a and b.
        sum_VD, sum_ID: x, which the first D gates weigh, and y.
        weight_HG: W.
        ready_I3D: ``ready_gates`` of b and y, if it is there already.
    """
    dim, exp_VG = sum_VD.shape[1], (logit_VG - logit_VG.amax(-1, keepdim=True)).exp()
    ready_I3D = ready_gates(logit_IG, sum_ID) if ready_I3D is None else ready_I3D
    first_VD, last_VD = exp_VG.split(dim, dim=-1)
    total_VI = torch.addmm(first_VD @ ready_I3D[:, :dim].T, last_VD, ready_I3D[:, 2 * dim :].T)
    if bool((total_VI >= LEAST).all()):
        weight_VHG = weight_HG * torch.cat([first_VD * sum_VD, last_VD], dim=-1)[:, None]
        return torch.matmul(ready_I3D[:, : 2 * dim], weight_VHG.mT).div_(total_VI[..., None])
    gate_VID, other_VID = (logit_VG[:, None] + logit_IG).softmax(-1).split(dim, dim=-1)
    return torch.cat([gate_VID * sum_VD[:, None], other_VID * sum_ID], dim=-1) @ weight_HG.T


def gated_products_reference(
    logit_VG: Tensor,
    sum_VD: Tensor,
    logit_IG: Tensor,
    sum_ID: Tensor,
    weight_HG: Tensor,
    ready_I3D: Tensor | None = None,
) -> Tensor:
    """``gated_products``, pair by pair."""
    rows = [
        torch.stack([weight_HG @ ((a + b).softmax(-1) * torch.cat([x, y])) for b, y in zip(logit_IG, sum_ID, strict=True)])
        for a, x in zip(logit_VG, sum_VD, strict=True)
    ]
    return torch.stack(rows)
