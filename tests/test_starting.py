"""Fits that begin with the weights of runs before them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import attlas
from attlas.data.split import Split
from attlas.errors import ArtefactError, ConfigError
from attlas.recommender import Recommender

PART = {"epochs": 2, "solver": {"learning_rate": 0.05}}
SMALL: dict[str, dict[str, Any]] = {
    "gmf": {"gmf_dim": 3},
    "mlp": {"mlp_dim": 4, "layers": (5, 2)},
    "neumf": {"gmf_dim": 3, "mlp_dim": 4, "layers": (5, 2), "alpha": 0.3},
    "cfnet_rl": {"rl_user_dim": 4, "rl_item_dim": 4, "rl_layers": (3,)},
    "cfnet_ml": {"ml_dim": 4, "ml_layers": (5, 2)},
    "deepcf": {"rl_user_dim": 4, "rl_item_dim": 4, "rl_layers": (3,), "ml_dim": 4, "ml_layers": (5, 2), "alpha": 0.3},
    "arl": {"representation_dim": 4, "representation_layers": (3,)},
    "aml": {"matching_dim": 4, "matching_layers": (5, 3)},
    "dacr": {"representation_dim": 4, "representation_layers": (3,), "matching_dim": 4, "matching_layers": (5, 3)},
    "fism": {"embedding_dim": 4},
    "nais": {"embedding_dim": 4, "attention_dim": 3},
}
NO_STEP = {"optimizer": "sgd", "learning_rate": 1e-12}


@pytest.fixture(scope="module")
def parts() -> Split:
    return attlas.split(attlas.simulate(60, 30, seed=2).interactions)


def fitted(parts: Split, name: str, folder: Path | None = None, **training: Any) -> Recommender:
    return attlas.fit(parts, name, config=SMALL[name], out=folder, **{**PART, **training})


@pytest.mark.parametrize(
    ("name", "first", "second"), [("neumf", "gmf", "mlp"), ("deepcf", "cfnet_rl", "cfnet_ml"), ("dacr", "arl", "aml")]
)
def test_a_fit_that_starts_from_two_runs_begins_with_the_mixture_of_their_logits(
    name: str, first: str, second: str, parts: Split, tmp_path: Path
) -> None:
    one, other = fitted(parts, first, tmp_path / first), fitted(parts, second, tmp_path / second)
    whole = fitted(parts, name, epochs=1, solver=NO_STEP, start=[tmp_path / first, tmp_path / second])
    user, item = parts.test.user, parts.test.item
    share = SMALL[name].get("alpha", 0.5)
    mixture = share * one.scorer.score(user, item) + (1 - share) * other.scorer.score(user, item)
    assert whole.scorer.score(user, item).tolist() == pytest.approx(mixture.tolist(), abs=1e-5)


def test_nais_starts_from_a_run_of_fism(parts: Split, tmp_path: Path) -> None:
    before = fitted(parts, "fism", tmp_path / "fism").model.state_dict()
    made = fitted(parts, "nais", tmp_path / "nais", epochs=1, solver=NO_STEP, start=tmp_path / "fism")
    after = made.model.state_dict()
    assert set(after) - set(before) == {"hidden.weight", "hidden.bias", "head"}
    assert all(torch.allclose(weight, after[name], atol=1e-9) for name, weight in before.items())
    assert made.card["experiment"]["training"]["start"] == (str(tmp_path / "fism"),)


def test_a_fit_that_starts_from_a_run_of_the_same_model_begins_with_its_weights(parts: Split, tmp_path: Path) -> None:
    before = fitted(parts, "gmf", tmp_path / "gmf").model.state_dict()
    after = fitted(parts, "gmf", epochs=1, solver=NO_STEP, start=tmp_path / "gmf").model.state_dict()
    assert all(torch.allclose(before[name], after[name], atol=1e-9) for name in before)
    further = fitted(parts, "gmf", epochs=1, start=str(tmp_path / "gmf")).model.state_dict()
    assert not any(torch.equal(before[name], further[name]) for name in before)


def test_a_resumed_fit_that_had_a_start_ends_as_it_would_have(parts: Split, tmp_path: Path) -> None:
    fitted(parts, "gmf", tmp_path / "gmf")
    whole = fitted(parts, "gmf", tmp_path / "whole", epochs=3, start=tmp_path / "gmf")

    class Stopped(Exception):
        """Somebody pulled the plug."""

    def stop(*_: Any) -> None:
        raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attlas.trial.Trial._measured", stop)
        with pytest.raises(Stopped):
            fitted(parts, "gmf", tmp_path / "cut", epochs=3, start=tmp_path / "gmf")
    resumed = attlas.fit(parts, "gmf", out=tmp_path / "cut", resume=True)
    weights = whole.model.state_dict()
    assert all(torch.equal(weights[name], weight) for name, weight in resumed.model.state_dict().items())


def test_what_a_fit_starts_from_stands_in_its_card(parts: Split, tmp_path: Path) -> None:
    fitted(parts, "gmf", tmp_path / "gmf")
    made = fitted(parts, "gmf", epochs=1, start=tmp_path / "gmf")
    assert made.card["experiment"]["training"]["start"] == (str(tmp_path / "gmf"),)


def test_a_run_that_was_refit_on_the_validation_rows_is_no_start(parts: Split, tmp_path: Path) -> None:
    fitted(parts, "gmf", tmp_path / "gmf", refit=True)
    with pytest.raises(ArtefactError, match=r"learnt from \d+ rows that are held out here; .* made without refit"):
        fitted(parts, "gmf", start=tmp_path / "gmf")


def test_a_final_run_that_learnt_from_all_rows_is_no_start(parts: Split, tmp_path: Path) -> None:
    fitted(parts, "gmf", tmp_path / "gmf")
    attlas.fit_final(tmp_path / "gmf", data=parts)
    with pytest.raises(ArtefactError, match=r"learnt from \d+ rows that are held out here"):
        fitted(parts, "gmf", start=tmp_path / "gmf-final")


def test_a_whole_that_is_refit_begins_both_times_with_its_start(parts: Split, tmp_path: Path) -> None:
    before = fitted(parts, "gmf", tmp_path / "gmf").model.state_dict()
    after = fitted(parts, "gmf", epochs=1, refit=True, solver=NO_STEP, start=tmp_path / "gmf").model.state_dict()
    assert all(torch.allclose(before[name], after[name], atol=1e-9) for name in before)


def test_a_run_of_other_users_or_items_is_no_start(parts: Split, tmp_path: Path) -> None:
    others = attlas.split(attlas.simulate(61, 30, seed=2).interactions)
    fitted(others, "gmf", tmp_path / "gmf")
    with pytest.raises(ArtefactError, match="knows other users or items than these data"):
        fitted(parts, "gmf", start=tmp_path / "gmf")


def test_a_run_of_another_model_or_of_other_sizes_is_no_start(parts: Split, tmp_path: Path) -> None:
    fitted(parts, "gmf", tmp_path / "gmf")
    with pytest.raises(ConfigError, match="MLP starts from one run of MLP, for it fuses no parts; got GMF"):
        fitted(parts, "mlp", start=tmp_path / "gmf")
    with pytest.raises(ConfigError, match="NeuMF starts from GMF and MLP, in this order; got GMF"):
        fitted(parts, "neumf", start=tmp_path / "gmf")
    with pytest.raises(ConfigError, match=r"GMF is of other sizes .* give it GMF.Config\(gmf_dim=3"):
        attlas.fit(parts, "gmf", config={"gmf_dim": 4}, start=tmp_path / "gmf")


def test_a_folder_without_a_run_is_no_start(parts: Split, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError):
        fitted(parts, "gmf", start=tmp_path / "nothing")


def test_a_start_that_is_no_folder_is_refused_by_name(parts: Split) -> None:
    with pytest.raises(ConfigError, match=r"\[training\] start.* = 3 does not fit"):
        fitted(parts, "gmf", start=3)
