"""One experiment from its data to a Recommender with Reports, in memory and in a run folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attlas
from attlas.data.interactions import Interactions
from attlas.data.split import Split, read_split
from attlas.errors import ArtefactError, ConfigError, TooLarge
from attlas.evaluation.evaluate import evaluate
from attlas.experiment import Experiment
from attlas.models import MODELS, model_class
from attlas.models.protocol import task_of
from attlas.runner import evaluate_run, fit, run
from attlas.telling import Teller
from attlas.training import journal
from attlas.training.solvers import make_solver

TINY = {"embedding_dim": 8, "attention_dim": 8, "layers": [8]}
FAST = {"learning_rate": 0.05}


class Notes(Teller):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        """Keep one sentence."""
        self.sentences.append(sentence)


def delf(**training: Any) -> Experiment:
    """A small DELF."""
    return Experiment.of({"model": {"name": "delf", **TINY}, "solver": FAST, "training": {"epochs": 4, **training}})


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def parts(club: Any) -> Split:
    """The club, split by time."""
    return attlas.split(club.interactions)


@pytest.fixture(scope="module")
def finished(parts: Split, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A run folder of DELF with a refit, and the Recommender that made it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    return folder, run(delf(epochs=6, patience=2, refit=True), data=parts, out=folder)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_goes_from_a_split_to_a_report(model: str, parts: Split) -> None:
    if task_of(model_class(model)) == "rating":
        parts = dataclasses.replace(parts, **{part: rated(getattr(parts, part)) for part in ("train", "valid", "test")})
    made = fit(parts, model, epochs=1)
    assert 0 < made.report.mean("rmse" if "rmse" in made.card["reports"][0]["means"] else "hr@10") <= 1
    assert len(made.recommend(["m17"], k=5)) == 5


def rated(part: Interactions) -> Interactions:
    return dataclasses.replace(part, rating=(1 + part.item % 2).astype(np.float32))


def test_in_a_run_folder_is_the_artefact_and_how_it_came_about_and_nothing_else(finished: tuple[Path, Any]) -> None:
    wanted = {"run.json", "weights.safetensors", "history.safetensors", "users.parquet", "items.parquet"}
    assert {path.name for path in finished[0].iterdir()} == wanted | {"experiment.json", "metrics.jsonl"}


def test_the_card_says_what_was_done_on_what_and_how_well(finished: tuple[Path, Any], parts: Split) -> None:
    card = finished[1].card
    assert card["model"]["name"] == "delf"
    assert [card["data"][name] for name in ("users", "items", "split")] == [80, 40, "global-time"]
    assert [card["data"][name] for name in ("train_rows", "test_rows")] == [720 + 90, 90]
    assert card["data"]["fingerprint"] == parts.train.fingerprint
    assert card["experiment"]["training"]["refit"]
    assert [report["protocol"] for report in card["reports"]] == ["full"]
    assert card["versions"].keys() >= {"attlas", "torch", "python"}
    assert card["training"]["seconds"] > 0


def test_the_card_on_disk_is_the_card_in_memory(finished: tuple[Path, Any]) -> None:
    on_disk = json.loads((finished[0] / "run.json").read_text())
    in_memory = json.loads(json.dumps(finished[1].card))
    assert {name: on_disk[name] for name in in_memory} == in_memory


def test_a_run_that_was_loaded_scores_as_the_one_that_was_fitted(finished: tuple[Path, Any]) -> None:
    users = np.arange(80)
    assert np.array_equal(attlas.load(finished[0]).scorer.score_all(users), finished[1].scorer.score_all(users))


def test_there_is_one_line_per_epoch_and_stage(finished: tuple[Path, Any]) -> None:
    rows = rows_of(finished[0])
    fits = [row for row in rows if row["stage"] == "fit"]
    refits = [row for row in rows if row["stage"] == "refit"]
    assert [row["epoch"] for row in fits] == list(range(1, len(fits) + 1))
    assert fits[0].keys() == {"stage", "epoch", "loss", "valid ndcg@10", "seconds", "pairs"}
    assert refits[0].keys() == {"stage", "epoch", "loss", "seconds", "pairs"}
    assert fits[0]["pairs"] == 720 * 5
    assert refits[0]["pairs"] == (720 + 90) * 5


def test_refit_trains_anew_on_train_and_validation_for_the_best_number_of_epochs(
    finished: tuple[Path, Any], parts: Split
) -> None:
    folder, made = finished
    fits = [row["valid ndcg@10"] for row in rows_of(folder) if row["stage"] == "fit"]
    best = fits.index(max(fits)) + 1
    training = made.card["training"]
    assert training["valid"] == {"metric": "ndcg@10", "value": max(fits), "epoch": best}
    assert training["epochs"] == len([row for row in rows_of(folder) if row["stage"] == "refit"]) == best
    assert len(made.inputs.train) == len(parts.train) + len(parts.valid or ())
    alone = run(delf(epochs=best), data=whole(parts))
    for name, tensor in made.model.state_dict().items():
        assert tensor.equal(alone.model.state_dict()[name])


def whole(parts: Split) -> Split:
    """The same test part, with the validation part among the training rows."""
    valid = parts.valid
    assert valid is not None
    both = {name: np.concatenate([getattr(parts.train, name), getattr(valid, name)]) for name in ("user", "item", "time")}
    rating = np.concatenate([parts.train.rating, valid.rating])  # type: ignore[list-item]
    return dataclasses.replace(parts, train=dataclasses.replace(parts.train, **both, rating=rating), valid=None)


def test_without_refit_the_weights_are_those_of_the_best_epoch(parts: Split) -> None:
    made = run(delf(epochs=6, patience=2), data=parts)
    best = made.card["training"]["valid"]["epoch"]
    assert made.card["training"]["valid"]["epoch"] <= len(made.card["training"]["losses"])
    until = run(delf(epochs=best, patience=6), data=parts)
    assert all(tensor.equal(until.model.state_dict()[name]) for name, tensor in made.model.state_dict().items())


def test_patience_ends_a_fit_that_does_not_improve(parts: Split) -> None:
    made = run(delf(epochs=60, patience=1), data=parts)
    assert made.card["training"]["epochs"] == made.card["training"]["valid"]["epoch"] + 1 < 60


def test_without_validation_all_epochs_are_trained_and_none_is_chosen(club: Any) -> None:
    experiment = Experiment.of({**delf(epochs=2).to_dict(), "data": {"validation": "none"}})
    made = run(experiment, data=club.interactions)
    assert made.card["training"]["valid"] is None
    assert made.card["training"]["epochs"] == 2
    assert made.card["data"]["train_rows"] == 810


def test_equal_experiments_on_equal_data_give_equal_bits_and_another_seed_others(parts: Split) -> None:
    one, same, other = (run(delf(epochs=1, seed=seed), data=parts).model.state_dict() for seed in (1, 1, 2))
    assert all(one[name].equal(same[name]) for name in one)
    assert not one["user_embedding.weight"].equal(other["user_embedding.weight"])


def test_held_out_items_are_not_recommended_since_they_are_known(parts: Split) -> None:
    made = fit(parts, "ease")
    held_out = parts.test.user[0], parts.test.item[0]
    answer = made.recommend(made.users.ids_of([held_out[0]]), k=40)
    assert made.items.ids_of([held_out[1]])[0] not in answer["item"].to_list()


def test_the_protocol_is_full_unless_the_files_give_candidates(given_files: Path, parts: Split) -> None:
    given = fit(given_files, "popularity")
    assert [report.protocol for report in given.reports] == ["full", "ncf"]
    assert [report.protocol for report in fit(parts, "popularity").reports] == ["full"]


def test_the_protocols_that_are_asked_for_are_measured(given_files: Path) -> None:
    experiment = Experiment.of({"evaluation": {"protocol": ["ncf-clean", "full"], "k": [1, 2]}})
    made = run(experiment, data=read_split(given_files))
    assert [(report.protocol, report.k) for report in made.reports] == [("ncf-clean", (1, 2)), ("full", (1, 2))]


def test_a_sampled_protocol_never_comes_without_the_full_one(given_files: Path, tmp_path: Path) -> None:
    experiment = Experiment.of({"evaluation": {"protocol": ["ncf"]}})
    made = run(experiment, data=read_split(given_files), out=tmp_path / "run")
    assert [report.protocol for report in made.reports] == ["ncf", "full"]
    again = evaluate_run(tmp_path / "run", data=read_split(given_files), protocols=["ncf-clean"])
    assert [report.protocol for report in again] == ["ncf-clean", "full"]


def test_lists_are_described_unless_the_settings_say_otherwise(parts: Split, tmp_path: Path) -> None:
    made = fit(parts, "popularity")
    assert made.card["reports"][0]["overall"].keys() == {"coverage@10", "gini@10", "coverage@20", "gini@20"}
    silent = run(Experiment.of({"evaluation": {"beyond": False}}), data=parts, out=tmp_path / "run")
    for report in (silent.report, evaluate_run(tmp_path / "run", data=parts)[0]):
        assert report.overall == {}
        assert not [name for name in report.per_user if name.startswith("novelty")]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"evaluation": {"protocol": ["ncf"]}}, "protocol 'ncf' ranks against given candidates, and this split came without"),
        ({"training": {"device": "tpu"}}, "device 'tpu' is not known; use cpu or cuda"),
        ({"solver": {"name": "counting"}}, r"\[solver\] name = 'counting'; did you mean 'count'\?"),
        ({"solver": {"learning_rate": 1}}, r"\[solver\] has no setting 'learning_rate'; there is nothing to set"),
    ],
)
def test_what_cannot_be_done_is_refused_before_a_folder_is_made(
    tables: dict[str, Any], message: str, parts: Split, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(Experiment.of(tables), data=parts, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        ({"objectiv": "pointwise"}, r"\[solver\] has no setting 'objectiv'; did you mean 'objective'\?"),
        ({"objective": "pairwize"}, r"\[solver\] objective = 'pairwize'; "),
        ({"objective": 3}, r"\[solver\] objective = 3; known are: "),
        ({"negatives": 0}, r"\[solver\] negatives = 0 does not fit"),
        ({"negatives": "four"}, r"\[solver\] negatives = 'four' does not fit"),
        ({"learning_rate": "fast"}, r"\[solver\] learning_rate = 'fast' does not fit"),
        ({"learning_rate": -1.0}, r"\[solver\] learning_rate = -1.0 does not fit: input should be greater than 0"),
        ({"weight_decay": -1.0}, r"\[solver\] weight_decay = -1.0 does not fit"),
    ],
)
def test_a_solver_that_does_not_fit_is_refused_by_name(solver: dict[str, Any], message: str, parts: Split) -> None:
    with pytest.raises(ConfigError, match=message):
        run(dataclasses.replace(delf(), solver=solver), data=parts)


def test_settings_of_the_solver_reach_the_objective_and_the_steps(parts: Split) -> None:
    model = run(delf(epochs=1), data=parts).model
    made: Any = make_solver(model, {"negatives": 2, "batch_size": 300, "learning_rate": 0.5, "weight_decay": 0.25})
    assert (made.objective.negatives, made.objective.batch_size) == (2, 300)
    assert [(group["lr"], group["weight_decay"]) for group in made.optimizer.param_groups] == [(0.5, 0.25)]


def test_what_does_not_fit_the_memory_is_refused_with_both_figures_before_a_folder_is_made(
    parts: Split, tmp_path: Path
) -> None:
    with pytest.raises(TooLarge, match=r"EASE on 80 users and 40 items needs 0\.0192 MB .* more than the 0\.01 MB"):
        fit(parts, "ease", memory="10kB", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_in_use_is_left_as_it_is(parts: Split, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ArtefactError, match="is not empty; choose another --out, or delete it"):
        fit(parts, "popularity", out=tmp_path)
    with pytest.raises(ArtefactError, match="is not empty"):
        fit(parts, "popularity", out=tmp_path / "letter.txt")
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_an_empty_folder_is_taken(parts: Split, tmp_path: Path) -> None:
    fit(parts, "popularity", out=tmp_path)
    assert (tmp_path / "run.json").is_file()


class Stopped(BaseException):
    """Whatever ends a process."""


@pytest.fixture
def begun(parts: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder of DELF that was stopped after two of four epochs."""

    def stop(self: Any, epoch: int, loss: float) -> None:
        if epoch == 3:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "__call__", stop)
        with pytest.raises(Stopped):
            run(delf(), data=parts, out=tmp_path / "run")
    return tmp_path / "run"


def test_a_fit_that_was_begun_is_not_overwritten(begun: Path, parts: Split) -> None:
    with pytest.raises(ArtefactError, match=f"go on with: attlas fit --resume {begun}"):
        run(delf(), data=parts, out=begun)


def test_a_fit_that_was_begun_is_no_run_yet(begun: Path) -> None:
    with pytest.raises(ArtefactError, match="a fit that has not finished; go on with: attlas fit --resume"):
        attlas.load(begun)


def test_resume_goes_on_with_the_settings_that_are_noted(begun: Path, parts: Split) -> None:
    notes = Notes()
    made = run(Experiment.of({}), data=parts, out=begun, resume=True, tell=notes)
    straight = run(delf(), data=parts)
    assert [sentence.split("  ")[0] for sentence in notes.sentences] == ["fit epoch 3", "fit epoch 4"]
    assert made.card["model"] == straight.card["model"]
    assert made.card["training"]["losses"] == straight.card["training"]["losses"]
    assert all(tensor.equal(straight.model.state_dict()[name]) for name, tensor in made.model.state_dict().items())


@pytest.mark.parametrize("how", ["fit", "command"])
def test_a_fit_whose_file_was_moved_is_resumed_from_where_it_is_now(
    how: str, club_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    def stop(self: Any) -> None:
        raise Stopped

    first, moved, folder = tmp_path / "first.csv", tmp_path / "moved.csv", tmp_path / "run"
    first.write_bytes((club_files / "ratings.csv").read_bytes())
    with monkeypatch.context() as patch:
        patch.setattr("attlas.trial.Trial.finish", stop)
        with pytest.raises(Stopped):
            fit(first, "ease", out=folder)
    first.rename(moved)
    if how == "fit":
        fit(moved, "popularity", out=folder, resume=True)
    else:
        said = command("fit", "--resume", folder, "--data", moved)
        assert said.code == 0, said.err
    card = attlas.load(folder).card
    assert (card["model"]["name"], card["experiment"]["data"]["source"]) == ("ease", str(moved))
    assert evaluate_run(folder)[0].mean("ndcg@10") == pytest.approx(card["reports"][0]["means"]["ndcg@10"])


def test_resume_refuses_data_that_have_changed(begun: Path, club: Any) -> None:
    fewer = club.interactions.take(np.arange(899))
    with pytest.raises(ArtefactError, match=r"the training data are not those that the fit in .* was begun with; fit anew"):
        run(delf(), data=fewer, out=begun, resume=True)


def test_resume_wants_a_folder_where_something_was_begun(parts: Split, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="resume goes on in a run folder"):
        run(delf(), data=parts, resume=True)
    with pytest.raises(ArtefactError, match="holds no fit to resume"):
        run(delf(), data=parts, out=tmp_path, resume=True)


def test_a_finished_run_that_is_resumed_is_loaded_and_only_leftovers_go(finished: tuple[Path, Any]) -> None:
    folder, made = finished
    (folder / "refit.checkpoint").touch()
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "refit.checkpoint"}
    notes = Notes()
    again = run(delf(), data=None, out=folder, resume=True, tell=notes)
    assert notes.sentences == [f"{folder} is finished; there is nothing left to do"]
    assert again.card["reports"] == json.loads(json.dumps(made.card["reports"]))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_torn_and_unsaved_lines_of_metrics_are_dropped_and_written_again(begun: Path, parts: Split) -> None:
    with (begun / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "fit", "epoch": 1, "loss": 0.5}\n{"stage": "fit", "epoch": 3, "loss": 0.5}\n{"stage": "fi')
    run(delf(), data=parts, out=begun, resume=True)
    assert [row["epoch"] for row in rows_of(begun)] == [1, 3, 4]


def test_evaluate_run_finds_what_the_card_says(finished: tuple[Path, Any], parts: Split) -> None:
    folder, made = finished
    reports = evaluate_run(folder, data=parts, k=(10, 20))
    assert [json.loads(json.dumps(report.to_dict())) for report in reports] == json.loads(json.dumps(made.card["reports"]))


def test_evaluate_run_reads_the_data_from_where_they_were_or_are_now(runs: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.csv"
    moved.write_bytes((runs / "ratings.csv").read_bytes())
    there, here = evaluate_run(runs / "delf"), evaluate_run(runs / "delf", data=moved)
    assert there[0].to_dict() == here[0].to_dict()


def test_evaluate_run_refuses_other_data(finished: tuple[Path, Any], club: Any) -> None:
    fewer = club.interactions.take(np.arange(800))
    with pytest.raises(ArtefactError, match=r"the training data are not those that .* was trained on; point --data to where"):
        evaluate_run(finished[0], data=fewer)


def test_a_run_on_data_in_memory_says_that_it_needs_them_to_be_evaluated(finished: tuple[Path, Any]) -> None:
    with pytest.raises(ConfigError, match="nothing to learn from; give a file or a folder: --data"):
        evaluate_run(finished[0])


@pytest.fixture(scope="module")
def strangers(club: Any) -> Split:
    """The club with users that are held out whole."""
    return attlas.split(club.interactions, "held-out-users")


def test_early_stopping_measures_the_validation_users_as_strangers(strangers: Split) -> None:
    made = run(delf(), data=strangers)
    epochs = made.card["training"]["valid"]["epoch"]
    again = run(delf(epochs=epochs), data=dataclasses.replace(strangers, valid=None))
    report = evaluate(again.scorer, strangers, part="valid", k=10)
    assert report.ways == {"fitted user vector": len(np.unique(strangers.valid.user))}
    assert report.mean("ndcg@10") == made.card["training"]["valid"]["value"]


def test_a_refit_learns_all_rows_of_validation_users_and_none_of_test_users(strangers: Split) -> None:
    made = fit(strangers, "ease", refit=True)
    learnt = made.inputs.train
    for part, count in ((strangers.valid, "all"), (strangers.test, "none")):
        users = np.unique(part.user)
        rows = int(np.isin(learnt.user, users).sum())
        whole = len(part) + int(np.isin(strangers.given.user, users).sum())
        assert rows == (whole if count == "all" else 0)
    assert made.report.users.tolist() == np.unique(strangers.test.user).tolist()


def test_a_user_that_was_held_out_whole_is_answered_from_all_rows_that_are_known(strangers: Split, tmp_path: Path) -> None:
    fit(strangers, "ease", out=tmp_path / "run")
    made = attlas.load(tmp_path / "run")
    user = int(strangers.test.user[0])
    chosen = [*strangers.given.by_user[[user]].indices, *strangers.test.by_user[[user]].indices]
    answer = made.recommend(made.users.ids_of([user]), 5)
    assert answer.drop("user").equals(made.recommend_for(made.items.ids_of(chosen), 5))
    assert set(answer["way"]) == {"from the history"}


def test_evaluate_run_refuses_other_given_rows(strangers: Split, tmp_path: Path) -> None:
    made = fit(strangers, "ease", out=tmp_path / "run")
    assert evaluate_run(tmp_path / "run", data=strangers, k=(10, 20))[0].to_dict() == made.report.to_dict()
    other = dataclasses.replace(strangers, given=strangers.given.take(np.arange(1, len(strangers.given))))
    with pytest.raises(ArtefactError, match=r"the given rows are not those that .* was measured with; point --data"):
        evaluate_run(tmp_path / "run", data=other)


def test_people_hear_who_is_a_stranger(club: Any) -> None:
    notes = Notes()
    run(Experiment.of({"data": {"split": "held-out-users"}}), data=club.interactions, tell=notes)
    parts = attlas.split(club.interactions, "held-out-users")
    counts = f"{len(parts.train)} rows train, {len(parts.valid)} validation, {len(parts.test)} test"
    assert f"split held-out-users: {counts}" in notes.sentences
    known = f"strangers to training, known by {len(parts.given)} given rows"
    assert f"8 validation and 8 test users are {known}" in notes.sentences


def test_people_hear_of_the_data_the_epochs_and_the_refit(club_files: Path) -> None:
    notes = Notes()
    tables = {**delf(epochs=1, refit=True).to_dict(), "data": {"source": str(club_files / "ratings.csv")}}
    run(Experiment.of(tables), tell=notes)
    assert "900 rows read, 900 kept" in notes.sentences
    assert "split global-time (chosen since times are known): 720 rows train, 90 validation, 90 test" in notes.sentences
    assert "refit on training and validation for 1 epochs" in notes.sentences
    assert [sentence.split("  ")[0] for sentence in notes.sentences[-3:]][0::2] == ["fit epoch 1", "refit epoch 1"]


def test_fit_refuses_a_setting_of_training_that_is_not_there(parts: Split) -> None:
    with pytest.raises(ConfigError, match=r"\[training\] has no setting 'epoch'; did you mean 'epochs'\?"):
        fit(parts, "ease", epoch=3)
