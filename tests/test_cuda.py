"""The same walk on a graphics card, where there is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attlas import fit, load, simulate
from attlas.models import MODELS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA on this machine")


@pytest.mark.parametrize("model", MODELS)
def test_a_model_fitted_on_cuda_loads_on_the_cpu_and_scores_alike(model, tmp_path):
    club = simulate(num_users=120, num_items=60, seed=2)
    on_cuda = fit(club.interactions, model=model, device="cuda", epochs=2, out=tmp_path / "run")
    on_cpu = load(tmp_path / "run", device="cpu")
    users = np.arange(40)
    np.testing.assert_allclose(on_cuda.scorer.score_all(users), on_cpu.scorer.score_all(users), rtol=1e-3, atol=1e-4)
    assert on_cuda.recommend_for(["f4", "f10"], 5).height == 5
