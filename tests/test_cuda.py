"""The same walk on a graphics card, where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from attlas import fit, load, simulate
from attlas.data.inputs import Inputs
from attlas.data.labelled import read_examples
from attlas.models import MODELS
from attlas.models.fawmf import FAWMF
from attlas.models.fawmf_solvers import FBGD, Alternating
from tests.test_fields_run import LAYOUT, frame

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA on this machine")


@pytest.mark.parametrize("model", MODELS)
def test_a_model_fitted_on_cuda_loads_on_the_cpu_and_scores_alike(model, tmp_path):
    club = simulate(num_users=120, num_items=60, seed=2)
    on_cuda = fit(club.interactions, model=model, device="cuda", epochs=2, out=tmp_path / "run")
    on_cpu = load(tmp_path / "run", device="cpu")
    users = np.arange(40)
    np.testing.assert_allclose(on_cuda.scorer.score_all(users), on_cpu.scorer.score_all(users), rtol=1e-3, atol=1e-4)
    assert on_cuda.recommend_for(["f4", "f10"], 5).height == 5


@pytest.mark.parametrize("model", ["linear", "fm", "nfm", "deepfm", "afm"])
def test_labelled_rows_with_bags_and_numbers_fit_on_cuda_and_answer_as_on_the_cpu(model, tmp_path):
    on_cuda = fit(read_examples(frame(), LAYOUT), model, device="cuda", epochs=1, out=tmp_path / "run")
    on_cpu = load(tmp_path / "run", device="cpu")
    asked: dict[str, Any] = {"k": 5, "context": {"hour": 2, "tags": ["red"]}, "exclude_seen": False}
    one, other = (made.recommend(["u1"], **asked) for made in (on_cuda, on_cpu))
    np.testing.assert_allclose(one["score"], other["score"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("solver", [FBGD, Alternating])
def test_a_solver_of_fawmf_goes_on_on_cuda_from_a_state_that_was_read_to_the_cpu(solver):
    inputs = Inputs(simulate(num_users=120, num_items=60, seed=2).interactions, device="cuda")
    model = FAWMF(inputs.sizes, FAWMF.Config(embedding_dim=4, num_communities=2)).to("cuda")
    model.begin(inputs)
    first, second = solver(), solver()
    first.epoch(model, inputs, np.random.default_rng(1))
    second.restore({name: tensor.cpu() for name, tensor in first.state().items()})
    assert np.isfinite(second.epoch(model, inputs, np.random.default_rng(1)))
