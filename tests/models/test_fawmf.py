import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import attlas
from attlas.data.inputs import History, Inputs, Sizes
from attlas.models.fawmf import FAWMF
from attlas.models.fawmf_solvers import FBGD, USER_SIDE, Alternating, _adam
from attlas.models.ials import IALS
from attlas.ops.exposure import CellCost, exposed_error, mixed_grams
from attlas.ops.ragged import Ragged
from tests.toy import chosen_by, fitted, two_tastes

LISTS = [[0, 2], [1, 2], [0, 3]]
WORKED = Inputs(chosen_by(LISTS, 4))
PUBLISHED: dict[str, Any] = {
    "embedding_dim": 2,
    "num_communities": 2,
    "kl": "none",
    "unseen_mean": 0.01,
    "evidence": "sum",
    "influence": "learned",
    "signs": "free",
    "l2": 0.0,
    "l2_exponent": 0.0,
    "membership_l2": 0.0,
    "exposure_l2": 0.0,
}
VALUES = {
    "user_embedding.weight": [[0.1, 0.2], [0.3, -0.1], [0.2, 0.4]],
    "item_embedding.weight": [[0.5, 0.1], [-0.2, 0.3], [0.4, 0.2], [0.1, -0.3]],
    "membership.weight": [[0.2, -0.1], [-0.3, 0.4], [0.0, 0.5]],
    "influence": [1.0, 0.5, 2.0],
    "item_weight": [0.8, 0.5, 1.2, 0.6],
    "item_bias": [-0.5, 0.1, -0.2, 0.3],
}
GAMMA = [
    [0.662999, 0.554444, 0.667800, 0.705524],
    [0.677657, 0.559480, 0.669047, 0.720165],
    [0.674894, 0.558531, 0.668812, 0.717406],
]


def worked_example(**config: Any) -> FAWMF:
    model = FAWMF(WORKED.sizes, FAWMF.Config(**PUBLISHED | config)).double()
    for name, parameter in model.named_parameters():
        if name in VALUES:
            parameter.data = torch.tensor(VALUES[name], dtype=torch.float64)
    model.settle(WORKED)
    return model


def gradients(model: FAWMF) -> dict[str, torch.Tensor]:
    parts = model.tensors()
    moved = {name: part for name, part in parts.items() if part.requires_grad}
    found = torch.autograd.grad(model.objective(parts, WORKED), list(moved.values()), allow_unused=True)
    return dict(zip(moved, found, strict=True))


def objective_of(model: FAWMF) -> float:
    return model.objective(model.tensors(names=()), WORKED).item()


def every_gamma(model: FAWMF, sizes: Sizes = WORKED.sizes) -> torch.Tensor:
    user, item = torch.meshgrid(torch.arange(sizes.num_users), torch.arange(sizes.num_items), indexing="ij")
    return model.gamma(user.ravel(), item.ravel()).view(sizes.num_users, -1)


def matrix(inputs: Inputs = WORKED) -> torch.Tensor:
    return torch.from_numpy(inputs.train.by_user.toarray()).double()


def assert_close(found: Any, expected: Any, atol: float = 1e-6) -> None:
    found, expected = (torch.as_tensor(value).detach().double() for value in (found, expected))
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def test_memberships_evidence_exposures_and_gamma_are_those_of_the_worked_example():
    model = worked_example()
    assert_close(model.communities(torch.arange(3)), [[0.574443, 0.425557], [0.331812, 0.668188], [0.377541, 0.622459]])
    evidence = model.evidence(dict(model.named_parameters()), WORKED.item_lists)
    assert_close(evidence, [[1.329524, 1.670476], [0.165906, 0.334094], [0.740349, 0.759651], [0.755081, 1.244919]])
    exposure = [[0.637290, 0.697702], [0.545611, 0.566368], [0.665615, 0.670751], [0.679843, 0.740189]]
    assert_close(model.exposure(torch.arange(4)), exposure)
    assert_close(every_gamma(model), GAMMA)


def test_the_objective_is_that_of_the_worked_example():
    assert objective_of(worked_example()) == pytest.approx(5.759558, abs=1e-6)
    assert objective_of(worked_example(unseen_precision=2.0)) == pytest.approx(7.767380, abs=1e-6)


def test_the_six_gradients_are_those_of_the_worked_example():
    found = gradients(worked_example())
    assert_close(found["user_embedding.weight"], [[-1.124016, -0.334596], [-0.134266, -0.613709], [-0.670503, 0.427019]])
    by_item = [[-0.298558, -0.729937], [-0.343592, 0.166584], [-0.441356, -0.039714], [-0.296788, -0.654070]]
    assert_close(found["item_embedding.weight"], by_item)
    assert_close(found["membership.weight"], [[0.004632, -0.004632], [-0.001148, 0.001148], [-0.000721, 0.000721]])
    assert_close(found["influence"], [-0.065732, -0.023596, -0.015087])
    assert_close(found["item_weight"], [-0.111679, 0.014750, -0.046320, 0.049747])
    assert_close(found["item_bias"], [-0.073955, 0.053167, -0.061674, 0.047611])


def test_the_caches_and_their_masses_are_those_of_the_worked_example():
    model = worked_example()
    share_UC, exposure_IC = model.communities(torch.arange(3)), model.exposure(torch.arange(4))
    user_gram, item_gram = (
        mixed_grams(table.weight.data, part.detach())
        for table, part in ((model.user_embedding, share_UC), (model.item_embedding, exposure_IC))
    )
    assert_close(user_gram[:, 0], [[0.050709, 0.031738], [0.031738, 0.086702]])
    assert_close(user_gram[:, 1], [[0.089291, 0.038262], [0.038262, 0.123298]])
    assert_close(item_gram[:, 0], [[0.294444, 0.031982], [0.031982, 0.143288]])
    assert_close(item_gram[:, 1], [[0.311802, 0.032357], [0.032357, 0.151397]])
    assert_close(share_UC.sum(0), [1.283795, 1.716205])
    assert_close(exposure_IC.sum(0), [2.528358, 2.675010])


def test_the_gradients_of_exposures_and_memberships_are_those_of_the_worked_example():
    model = worked_example()
    share_UC = model.communities(torch.arange(3)).detach().requires_grad_()
    parts = dict(model.named_parameters())
    evidence_IC = torch.zeros(4, 2, dtype=torch.float64).index_add(
        0, WORKED.user_lists.index, (model.influence[:, None] * share_UC)[WORKED.user_lists.owner]
    )
    exposure_IC = model.exposures(parts, evidence_IC, WORKED)
    tables = model.user_embedding.weight, share_UC, model.item_embedding.weight, exposure_IC
    error = exposed_error(*tables, WORKED.user_lists, model.cost())
    on_exposure, on_share = torch.autograd.grad(error, (exposure_IC, share_UC))
    expected = [[-0.150504, -0.185696], [0.072257, 0.143543], [-0.123617, -0.154683], [0.089337, 0.146463]]
    assert_close(on_exposure, expected)
    assert_close(on_share, [[-0.220806, -0.239754], [0.003043, 0.008223], [-0.008891, -0.005822]])


def kl_of(gamma: torch.Tensor, prior: float) -> torch.Tensor:
    return gamma * (gamma / prior).log() + (1 - gamma) * ((1 - gamma) / (1 - prior)).log()


def test_the_divergence_its_bound_and_its_proxy_are_those_of_the_worked_example():
    model = worked_example()
    gamma = every_gamma(model)
    assert kl_of(gamma, 0.2).sum().item() == pytest.approx(5.884039, abs=1e-6)
    prior_logit = torch.full((4,), 0.2, dtype=torch.float64).logit()
    bound = model.divergence(model.communities(torch.arange(3)), model.exposure(torch.arange(4)), prior_logit)
    assert bound.item() == pytest.approx(5.896703, abs=1e-6)
    assert ((gamma - 0.2) ** 2 / (2 * 0.2 * 0.8)).sum().item() == pytest.approx(7.824721, abs=1e-6)


def test_the_gradients_of_the_exact_divergence_are_those_of_the_worked_example():
    model = worked_example()
    parts = model.tensors()
    exposure_IC = model.exposures(parts, model.evidence(parts, WORKED.item_lists), WORKED)
    total = kl_of(parts["membership.weight"].softmax(-1) @ exposure_IC.T, 0.2).sum()
    names = ("membership.weight", "influence", "item_weight", "item_bias")
    found = dict(zip(names, torch.autograd.grad(total, [parts[name] for name in names]), strict=True))
    assert_close(found["membership.weight"], [[-0.159409, 0.159409], [-0.104858, 0.104858], [-0.160443, 0.160443]])
    assert_close(found["influence"], [1.360983, 1.185404, 0.997774])
    assert_close(found["item_weight"], [2.101730, 0.313252, 1.042852, 1.433002])
    assert_close(found["item_bias"], [1.385109, 1.196395, 1.387959, 1.403467])


def normal(value: torch.Tensor, mean: Any, precision: float) -> torch.Tensor:
    return (precision / (2 * math.pi)) ** 0.5 * (-precision / 2 * (value - mean) ** 2).exp()


def test_the_lower_bound_is_that_of_the_worked_example_and_below_the_evidence():
    model = worked_example()
    error = objective_of(model)
    divergence = kl_of(every_gamma(model), 0.2).sum().item()
    bound = 12 * 0.5 * math.log(2 / (2 * math.pi)) - error - divergence  # precision 2 makes half of it 1
    assert bound == pytest.approx(-18.511975, abs=1e-6)
    score = model.user_embedding.weight @ model.item_embedding.weight.T
    evidence = (0.2 * normal(matrix(), score, 2.0) + 0.8 * normal(matrix(), 0.01, 2.0)).log().sum()
    assert evidence.item() == pytest.approx(-12.699761, abs=1e-6)
    assert bound < evidence.item()


def cost_of_a_cell(held: bool, gamma: float) -> float:
    """Of one user and one item, whose score is 0.4."""
    one, rows = torch.ones(1, 1, dtype=torch.float64), Ragged.of([[0] if held else []], 1)
    return exposed_error(0.4 * one, gamma * one, one, one, rows, CellCost(floor=0.01)).item()


@pytest.mark.parametrize(("held", "expected"), [(False, 0.130732), (True, 0.247033)])
def test_the_best_gamma_of_a_pair_is_its_posterior(held, expected):
    """What one cell costs, which is linear in gamma, with its divergence is least where the notes say."""
    gamma = torch.linspace(1e-4, 1 - 1e-4, 100_001, dtype=torch.float64)
    error = (1 - gamma) * cost_of_a_cell(held, 0.0) + gamma * cost_of_a_cell(held, 1.0)
    assert (1 - 0.3) * cost_of_a_cell(held, 0.0) + 0.3 * cost_of_a_cell(held, 1.0) == pytest.approx(cost_of_a_cell(held, 0.3))
    best = float(gamma[(error + kl_of(gamma, 0.15)).argmin()])
    assert best == pytest.approx(expected, abs=2e-5)


def test_fifty_steps_of_adam_pass_the_objectives_of_the_worked_example():
    model, solver = worked_example(), FBGD(learning_rate=0.1, exposure_learning_rate=0.1)
    found = {}
    for step in range(1, 51):
        solver.epoch(model, WORKED, np.random.default_rng(1))
        found[step] = objective_of(model)
    expected = {1: 5.027147, 2: 4.267292, 5: 2.975044, 10: 2.091760, 20: 1.027668, 50: 0.535043}
    assert {step: found[step] for step in expected} == pytest.approx(expected, abs=1e-6)


def test_the_authors_code_is_a_setting_whose_gradients_are_those_of_the_worked_example():
    code = {"influence": "one", "unseen_mean": 1e-5, "l2": 0.005, "membership_l2": 0.0005, "exposure_l2": 0.005}
    model = worked_example(**code)
    model.influence.data.fill_(1.0)
    bare = worked_example(**code | {"l2": 0.0, "membership_l2": 0.0, "exposure_l2": 0.0})
    bare.influence.data.fill_(1.0)
    assert objective_of(bare) == pytest.approx(5.807313, abs=1e-6)
    found = gradients(model)
    assert "influence" not in found
    assert_close(found["membership.weight"], [[0.005165, -0.005065], [-0.000949, 0.001049], [-0.000768, 0.001268]])
    assert_close(found["item_weight"], [-0.084208, 0.031142, -0.050426, 0.031904])
    assert_close(found["item_bias"], [-0.096799, 0.048254, -0.064089, 0.052140])


def dense_objective(model: FAWMF, inputs: Inputs) -> torch.Tensor:
    """The objective from all pairs, as the page writes it."""
    config, held = model.config, matrix(inputs)
    parts = model.tensors()
    exposure_IC = model.exposures(parts, model.evidence(parts, inputs.item_lists), inputs)
    share_UC = parts["membership.weight"].softmax(-1)
    score, gamma = parts["user_embedding.weight"] @ parts["item_embedding.weight"].T, share_UC @ exposure_IC.T
    if config.kl == "exact":
        seen = score**2 + 2 / config.precision * config.exposure_cost
        cells = torch.where(held > 0, (1 - score) ** 2 - 2 / config.precision * gamma.log(), gamma * seen)
        more = config.exposure_cost * config.prior_exposure * (share_UC @ exposure_IC.log().T)
        cells = cells - 2 / config.precision * more
    else:
        unseen = config.unseen_precision * (config.unseen_mean - held) ** 2
        cells = gamma * (score - held) ** 2 + (1 - gamma) * unseen
    total = cells.sum()
    for name, rows in (("user_embedding.weight", held.sum(1)), ("item_embedding.weight", held.sum(0))):
        mass = rows + config.prior_exposure * held.numel() / len(rows)
        total = total + (config.l2 * mass**config.l2_exponent * parts[name].square().sum(1)).sum()
    return total + config.membership_l2 * parts["membership.weight"].square().sum()


@pytest.mark.parametrize("kl", ["exact", "none"])
@pytest.mark.parametrize("evidence", ["sum", "sqrt", "mean"])
def test_the_objective_in_linear_time_is_that_over_all_pairs(kl, evidence):
    inputs = Inputs(attlas.simulate(30, 20, seed=1).interactions)
    torch.manual_seed(1)
    model = FAWMF(inputs.sizes, FAWMF.Config(embedding_dim=3, num_communities=2, kl=kl, evidence=evidence, stddev=2.0)).double()
    model.begin(inputs)
    torch.testing.assert_close(model.objective(model.tensors(), inputs), dense_objective(model, inputs))


def test_the_bound_is_the_divergence_where_communities_agree_and_above_it_elsewhere():
    model = worked_example()
    prior_logit = torch.full((4,), 0.3, dtype=torch.float64).logit()
    share_UC, exposure_IC = model.communities(torch.arange(3)), model.exposure(torch.arange(4))
    assert model.divergence(share_UC, exposure_IC, prior_logit).item() > kl_of(share_UC @ exposure_IC.T, 0.3).sum().item()
    alike_IC = exposure_IC[:, :1].expand(-1, 2)
    exact = kl_of(share_UC @ alike_IC.T, 0.3).sum()
    torch.testing.assert_close(model.divergence(share_UC, alike_IC, prior_logit), exact)
    one_hot_UC = torch.eye(2, dtype=torch.float64)[[0, 1, 0]]
    exact = kl_of(one_hot_UC @ exposure_IC.T, 0.3).sum()
    torch.testing.assert_close(model.divergence(one_hot_UC, exposure_IC, prior_logit), exact)


def test_scaling_influence_against_the_weights_of_items_changes_nothing():
    model = worked_example()
    before = model.objective(model.tensors(), WORKED)
    model.influence.data *= 3
    model.item_weight.data /= 3
    torch.testing.assert_close(model.objective(model.tensors(), WORKED), before)


@pytest.mark.parametrize("kl", ["exact", "bound", "none"])
def test_an_exact_half_sweep_leaves_no_gradient(kl):
    model = worked_example(kl=kl, l2=0.1, l2_exponent=1.0)
    share_UC, exposure_IC = model.membership.weight.data.softmax(-1), model.exposure_table
    user_UD, item_ID = model.user_embedding.weight, model.item_embedding.weight
    solved = model.factors(item_ID.data, exposure_IC, WORKED.user_lists, share_UC, user_UD.data, None)
    user_UD.data.copy_(solved)
    assert_close(gradients(model)["user_embedding.weight"], torch.zeros(3, 2), atol=1e-10)
    item_ID.data.copy_(model.factors(solved, share_UC, WORKED.item_lists, exposure_IC, item_ID.data, None))
    assert_close(gradients(model)["item_embedding.weight"], torch.zeros(4, 2), atol=1e-10)


def trained(solver: Any, epochs: int, seed: int = 1, **config: Any) -> tuple[FAWMF, Inputs, list[float]]:
    inputs = Inputs(two_tastes().train)
    torch.manual_seed(seed)
    model = FAWMF(inputs.sizes, FAWMF.Config(**{"embedding_dim": 4, "num_communities": 2} | config))
    model.begin(inputs)
    return model, inputs, [solver.epoch(model, inputs, np.random.default_rng(1)) for _ in range(epochs)]


@pytest.mark.parametrize("kl", ["exact", "bound", "none"])
def test_no_exact_sweep_makes_the_objective_rise_while_exposures_stand_still(kl):
    _, _, losses = trained(Alternating(method="cholesky", exposure_steps=0), 6, kl=kl)
    assert (np.diff(losses) <= 1e-6).all()


def test_as_many_steps_as_dimensions_solve_as_cholesky_does():
    exact, _, _ = trained(Alternating(method="cholesky"), 2)
    nearly, _, _ = trained(Alternating(steps=8), 2)
    torch.testing.assert_close(nearly.item_embedding.weight, exact.item_embedding.weight, atol=1e-4, rtol=1e-3)


def test_the_objectives_of_blocks_of_users_sum_to_that_of_all():
    """Users lie in another order, and the evidence comes from what is kept."""
    whole, inputs, _ = trained(FBGD(), 0)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    kept = whole.evidence(whole.tensors(names=()), inputs.item_lists)
    blocks = [whole.objective(whole.tensors(users), inputs, users=users, evidence_IC=kept) for users in (order[:5], order[5:])]
    torch.testing.assert_close(sum(blocks), whole.objective(whole.tensors(), inputs))


@pytest.mark.parametrize("kl", ["exact", "bound", "none"])
def test_half_of_users_who_all_have_doubles_have_the_gradients_that_they_have_among_all(kl):
    """What a block lacks of the errors that its memberships and influence move by the evidence is what it has itself."""
    inputs = Inputs(chosen_by(LISTS + LISTS, 4))
    model = FAWMF(inputs.sizes, FAWMF.Config(**PUBLISHED | {"kl": kl})).double()
    for name, parameter in model.named_parameters():
        if name in VALUES:
            value = torch.tensor(VALUES[name], dtype=torch.float64)
            parameter.data = torch.cat([value, value]) if name in USER_SIDE else value
    users, kept, found = torch.arange(3), model.evidence(model.tensors(names=()), inputs.item_lists), []
    for block in ({}, {"users": users, "evidence_IC": kept}):
        parts = model.tensors(block.get("users"))
        total = model.objective(parts, inputs, **block)
        found.append(torch.autograd.grad(total, [parts[name] for name in USER_SIDE]))
    for whole, half in zip(*found, strict=True):
        torch.testing.assert_close(half, whole[:3])


def test_evidence_is_kept_up_to_date_from_batch_to_batch(monkeypatch):
    model, inputs, _ = trained(FBGD(), 0)
    seen = []
    objective = FAWMF.objective

    def watched(self: FAWMF, parts: Any, data: Inputs, **block: Any) -> torch.Tensor:
        seen.append((block["evidence_IC"].clone(), self.evidence(self.tensors(names=()), data.item_lists)))
        return objective(self, parts, data, **block)

    monkeypatch.setattr(FAWMF, "objective", watched)
    FBGD(users=5).epoch(model, inputs, np.random.default_rng(1))
    assert len(seen) == 4
    for kept, anew in seen:
        torch.testing.assert_close(kept, anew)
    assert not torch.equal(seen[0][0], seen[-1][0])


def test_a_batch_moves_only_its_own_users():
    model, inputs, _ = trained(FBGD(), 0)
    before = model.user_embedding.weight.detach().clone()
    users = torch.tensor([3, 8])
    evidence = model.evidence(model.tensors(names=()), inputs.item_lists)
    FBGD().step(model, inputs, users=users, evidence_IC=evidence)
    moved = (model.user_embedding.weight != before).any(1).nonzero().ravel()
    assert moved.tolist() == [3, 8]


@pytest.mark.parametrize("users", [None, 5])
@pytest.mark.parametrize("kl", ["exact", "bound", "none"])
def test_descent_lowers_the_objective(kl, users):
    _, _, losses = trained(FBGD(users=users), 12, kl=kl)
    assert losses[-1] < 0.7 * losses[0]


def test_a_solver_goes_on_from_its_state_with_the_same_bits():
    straight, inputs, _ = trained(Alternating(), 4)
    first = Alternating()
    resumed, _, _ = trained(first, 2)
    second = Alternating()
    second.restore({name: tensor.clone() for name, tensor in first.state().items()})
    for _ in range(2):
        second.epoch(resumed, inputs, np.random.default_rng(1))
    assert torch.equal(resumed.exposure_table, straight.exposure_table)


def test_what_adam_remembered_follows_its_weight_to_another_device():
    moments: dict[str, Any] = {}
    _adam(torch.zeros(3, 2), torch.ones(3, 2), moments, "table", 0.1)
    weight = torch.zeros(3, 2, device="meta")
    _adam(weight, torch.ones_like(weight), moments, "table", 0.1)
    assert {moments[f"table/{part}"].device.type for part in ("first", "second")} == {"meta"}
    assert moments["table/step"].item() == 2


def test_a_learned_prior_moves_and_one_that_is_given_does_not():
    given, _, _ = trained(FBGD(), 0, kl="bound", prior="popularity")
    assert not given.prior_logit.requires_grad
    start, _, _ = trained(FBGD(), 0, kl="bound", prior="learned")
    learned, _, _ = trained(FBGD(), 2, kl="bound", prior="learned")
    assert (learned.prior_logit != start.prior_logit).all()


def test_with_one_community_gamma_belongs_to_the_item_alone():
    model, _, _ = trained(Alternating(), 3, num_communities=1)
    gamma = every_gamma(model, Sizes(16, 16))
    torch.testing.assert_close(gamma, gamma[:1].expand(16, -1))


def test_ranking_by_expectation_is_by_preference_times_gamma():
    by_preference, _, _ = trained(Alternating(), 3, rank="preference")
    expected, _, _ = trained(Alternating(), 3, rank="expected")
    user, item = torch.arange(16), torch.arange(16).flip(0)
    score = by_preference(user, item)
    torch.testing.assert_close(expected(user, item), score * expected.gamma(user, item))
    torch.testing.assert_close(expected.score_catalogue(user)[user, item], expected(user, item))


def test_the_mixture_finds_the_two_tastes():
    model, _, _ = trained(Alternating(), 0)
    own = model.communities(torch.arange(16)).argmax(1)
    assert own[0] != own[1]
    assert torch.equal(own, own[:2].repeat(8))
    exposure = model.exposure(torch.arange(16))
    assert (exposure[::2, own[0]] > exposure[::2, own[1]]).all()
    assert (exposure[1::2, own[1]] > exposure[1::2, own[0]]).all()


def test_folding_in_a_known_history_gives_the_factors_of_a_half_sweep_and_the_taste():
    model, _, _ = trained(Alternating(method="cholesky"), 5)
    folded = model.fold_in(History.of([[0, 2, 4], [1, 3, 5], []], 16))
    factors_SD, logit_SC = folded.split([4, 2], dim=1)
    share_SC = logit_SC.softmax(-1)
    own = model.communities(torch.tensor([0, 1])).argmax(1)
    assert torch.equal(share_SC[:2].argmax(1), own)
    assert_close(share_SC[2], [0.5, 0.5])
    assert factors_SD[2].tolist() == [0.0] * 4
    chosen = History.of([[0, 2, 4], [1, 3, 5], []], 16).lists
    again = model.factors(model.item_embedding.weight.data, model.exposure_table, chosen, share_SC, torch.zeros(3, 4), None)
    torch.testing.assert_close(factors_SD, again)


@pytest.mark.parametrize("rank", ["preference", "expected"])
@pytest.mark.parametrize("kl", ["exact", "none"])
def test_contributions_sum_to_the_score_of_the_folded_factors(kl, rank):
    model, _, _ = trained(Alternating(), 3, kl=kl, rank=rank)
    history = History.of([[0, 2, 8]], 16)
    factors_1D, logit_1C = model.fold_in(history).split([4, 2], dim=1)
    with torch.no_grad():
        model.user_embedding.weight[:1], model.membership.weight[:1] = factors_1D, logit_1C
    user, item = torch.tensor([0]), torch.tensor([6])
    added = model.attention(user, item, history)["user_history"]
    assert added.shape == (3,)
    torch.testing.assert_close(added.sum(), model(user, item).squeeze())


def test_a_recommender_serves_strangers_and_explains_by_exact_contributions():
    recommender = fitted("fawmf")
    answers = recommender.recommend_for(["i0", "i2", "i4"], k=4)
    assert set(answers["way"]) == {"folded in by one solve"}
    assert all(int(item[1:]) % 2 == 0 for item in answers["item"])
    reasons = recommender.explain(None, "i6", history=["i0", "i2", "i4"])
    assert reasons.method == "contribution"
    assert reasons.history["weight"].sum() == pytest.approx(reasons.score, rel=1e-4)


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    return float(spearmanr(one, other).statistic)


def test_gamma_follows_the_true_exposure_where_popularity_does_not():
    """On a club a quarter of the usual size; over cells without a choice."""
    club = attlas.simulate(400, 200, seed=1)
    inputs = Inputs(club.interactions)
    torch.manual_seed(1)
    model = FAWMF(inputs.sizes, FAWMF.Config(embedding_dim=8, num_communities=6))
    model.begin(inputs)
    solver = Alternating()
    for _ in range(10):
        solver.epoch(model, inputs, np.random.default_rng(1))
    user, item = np.nonzero(club.interactions.by_user.toarray() == 0)
    truth = club.truth.exposure(user, item)
    gamma = model.gamma(torch.from_numpy(user), torch.from_numpy(item)).detach().numpy()
    popularity = np.diff(club.interactions.by_item.indptr)[item]
    assert spearman(gamma, truth) > max(0.6, spearman(popularity, truth))


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="prior_exposure"):
        FAWMF.Config(prior_exposure=1.0)
    with pytest.raises(ValueError, match="kl"):
        FAWMF.Config(kl="exactly")
    assert dataclasses.asdict(FAWMF.Config())["kl"] == "exact"


def test_where_exposures_cost_everything_fawmf_is_ials_with_their_prior_for_weight():
    """A large cost holds gamma to prior_exposure, and the solves are those of Hu et al. but for what a chosen pair weighs."""
    model, inputs, _ = trained(Alternating(), 0, exposure_cost=1e6, prior_exposure=0.2, l2=0.01)
    gamma = every_gamma(model, Sizes(16, 16))
    torch.testing.assert_close(gamma, torch.full_like(gamma, 0.2), atol=1e-3, rtol=0)
    exposure_IC, share_UC = torch.full((16, 2), 0.2), model.communities(torch.arange(16)).detach()
    item_ID = model.item_embedding.weight.data
    found = model.factors(item_ID, exposure_IC, inputs.user_lists, share_UC, item_ID, None)
    ials = IALS(inputs.sizes, IALS.Config(embedding_dim=4, alpha=0.8, unobserved_weight=0.2, zeros="unobserved", l2=0.01))
    expected = IALS.Alternating(method="cholesky").half_sweep(ials, item_ID, item_ID, inputs.user_lists, torch.ones(112))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
