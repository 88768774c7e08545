"""Faults planted in labelled rows and in models of them are found; on clean rows nothing is above info."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import attlas
from attlas.auditing.audit import audit
from attlas.auditing.examples import audit_examples, beyond_nature, coming_again, row_keys
from attlas.auditing.finding import Finding
from attlas.auditing.labelled import audit_reader
from attlas.data.examples import ExampleInputs, Examples, blinded, parts_by_ratio
from attlas.data.labelled import Layout, read_examples
from attlas.data.labelling import labelled_rows
from attlas.data.split import Split
from attlas.loading import DataConfig
from attlas.scoring import Scorer

SEEDS = range(1, 9)
LAYOUT = Layout(item_fields=("genre",))
TINY: dict[str, dict[str, Any]] = {
    "linear": {},
    "fm": {"embedding_dim": 8, "stddev": 0.1},
    "nfm": {"embedding_dim": 8, "layers": (8,), "stddev": 0.1},
    "deepfm": {"embedding_dim": 8, "layers": (16,), "stddev": 0.1},
    "afm": {"embedding_dim": 8, "attention_dim": 4, "stddev": 0.1},
}


@functools.cache
def rows(seed: int = 3) -> Examples:
    """What the members of a film club chose, and for each of it two films that they did not."""
    club = attlas.simulate(100, 60, seed=seed, num_interactions=1500)
    return read_examples(labelled_rows(club.interactions, item_columns=["genre"], times=["hour"], seed=seed), LAYOUT)


@functools.cache
def clean(seed: int = 3) -> Split:
    train, valid, test = parts_by_ratio(rows(seed), seed=seed)
    parts: dict[str, Any] = {"train": train, "valid": valid, "test": test}
    return Split(**parts, code="global-ratio")


def fitted(name: str, split: Split, **config: Any) -> Any:
    solver = {"learning_rate": 0.02, "batch_size": 256}
    return attlas.fit(split, name, config={**TINY[name], **config}, solver=solver, epochs=3)


def with_parts(split: Split, **parts: Any) -> Split:
    return replace(split, **parts)


def every(part: Examples, step: int) -> Examples:
    return part.take(np.arange(0, len(part), step))


def known_test_rows() -> list[Finding]:
    split = clean()
    return audit_examples(with_parts(split, train=split.train.joined(every(split.test, 5))))


def validation_is_test() -> list[Finding]:
    split = clean()
    return audit_examples(with_parts(split, valid=split.test))


def validation_in_train() -> list[Finding]:
    split = clean()
    return audit_examples(with_parts(split, train=split.train.joined(split.valid)))


def repeated_training_rows() -> list[Finding]:
    split = clean()
    return audit_examples(with_parts(split, train=split.train.joined(every(split.train, 5))))


def repeated_test_rows() -> list[Finding]:
    split = clean()
    return audit_examples(with_parts(split, test=split.test.joined(every(split.test, 5))))


def contradictory_labels() -> list[Finding]:
    split = clean()
    turned = every(split.train, 20)
    return audit_examples(with_parts(split, train=split.train.joined(replace(turned, label=1 - turned.label))))


def unknown_categories() -> list[Finding]:
    split = clean()
    gone = np.isin(split.train.user, np.unique(split.train.user)[:10])
    train, valid, test = blinded(split.train.take(~gone), split.valid, split.test)
    return audit_examples(with_parts(split, train=train, valid=valid, test=test))


def one_label() -> list[Finding]:
    split = clean()
    return audit_examples(with_parts(split, test=split.test.take(split.test.label > 0)))


def telling_field() -> list[Finding]:
    club = attlas.simulate(100, 60, seed=3, num_interactions=1500)
    table = labelled_rows(club.interactions, item_columns=["genre"], times=["hour"])
    told = table.with_columns(pl.when(pl.col("label") == 1).then(pl.lit("paid")).otherwise(pl.lit("none")).alias("receipt"))
    train, valid, test = parts_by_ratio(read_examples(told, LAYOUT))
    parts: dict[str, Any] = {"train": train, "valid": valid, "test": test}
    return audit_examples(Split(**parts, code="global-ratio"))


def trained_on_test() -> list[Finding]:
    split = clean()
    made = fitted("fm", with_parts(split, train=split.train.joined(every(split.test, 5))))
    return audit_reader(made.scorer, split, "label", name="fm")


def constant_scores() -> list[Finding]:
    split = clean()
    model = copy.deepcopy(fitted("fm", split).model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return audit_reader(Scorer(model, ExampleInputs(split.train)), split, "label", name="fm")


def flat_attention() -> list[Finding]:
    return _damaged(lambda model: model.query.zero_())


def peaked_attention() -> list[Finding]:
    def sharpen(model: Any) -> None:
        model.factors.vector.mul_(20)
        model.query.copy_(torch.tensor([9e3, -7e3, 5e3, -3e3]))

    return _damaged(sharpen)


def _damaged(change: Callable[[Any], Any]) -> list[Finding]:
    split = clean()
    model = copy.deepcopy(fitted("afm", split).model)
    with torch.no_grad():
        change(model)
    return audit_reader(Scorer(model, ExampleInputs(split.train)), split, "label", name="afm")


def not_reproduced() -> list[Finding]:
    made = fitted("fm", clean())
    reports = [{**report, "means": {"logloss": 0.1, "auc": 0.99}} for report in made.card["reports"]]
    return audit_reader(made.scorer, clean(), "label", name="fm", reports=reports)


def blind_epochs() -> list[Finding]:
    split = with_parts(clean(), valid=None)
    return list(audit(fitted("fm", split), data=split).findings)


FAULTS: dict[str, Callable[[], list[Finding]]] = {
    "test-in-train": known_test_rows,
    "validation-is-test": validation_is_test,
    "validation-in-train": validation_in_train,
    "repeated-training-rows": repeated_training_rows,
    "repeated-test-rows": repeated_test_rows,
    "contradictory-labels": contradictory_labels,
    "unknown-categories": unknown_categories,
    "one-label": one_label,
    "telling-field": telling_field,
    "trained-on-test": trained_on_test,
    "constant-scores": constant_scores,
    "collapsed-attention": flat_attention,
    "collapsed-attention, one pair": peaked_attention,
    "not-reproduced": not_reproduced,
    "blind-epochs": blind_epochs,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(fault: str) -> None:
    loud = {finding.code for finding in FAULTS[fault]() if finding.severity != "info"}
    assert loud == {fault.partition(",")[0]}


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_above_info_for_honest_models_of_clean_rows(seed: int) -> None:
    split = clean(seed)
    name = [*TINY][seed % len(TINY)]
    found = [*audit_examples(split), *audit(fitted(name, split), data=split).findings]
    assert {finding.code for finding in found} >= {"best-field"}
    assert [finding for finding in found if finding.severity != "info"] == []


def test_the_effect_of_rows_that_were_trained_on_is_told_in_both_metrics() -> None:
    (told,) = [finding for finding in trained_on_test() if finding.code == "trained-on-test"]
    assert told.effect is not None
    assert told.effect.startswith("fm: logloss 0.")
    assert "auc 0." in told.effect
    assert told.size == pytest.approx(0.2, abs=0.01)


def test_keys_are_equal_where_rows_are() -> None:
    part = rows()
    assert len(np.unique(row_keys(part))) == len(np.unique(np.c_[part.index, part.label], axis=0))
    turned = replace(part, label=1 - part.label)
    assert not np.isin(row_keys(turned.take(slice(0, 9))), row_keys(part.take(slice(0, 9)))).any()
    np.testing.assert_array_equal(row_keys(turned, labelled=False), row_keys(part, labelled=False))


def test_rows_that_come_again_by_nature_are_no_leak() -> None:
    """Every row is there four times; a random tenth is thus in training, as any training row is."""
    four = rows().joined(rows(), rows(), rows())
    train, valid, test = parts_by_ratio(four)
    parts: dict[str, Any] = {"train": train, "valid": valid, "test": test}
    found = {finding.code: finding.severity for finding in audit_examples(Split(**parts, code="global-ratio"))}
    assert coming_again(train) > 0.9
    assert found["test-in-train"] == "info"
    assert found["repeated-training-rows"] == "warning"


def test_a_test_part_that_is_training_is_found_beside_rows_that_come_again() -> None:
    """Three in four training rows come again."""
    train = clean().train
    train = train.joined(train.take(slice(0, int(0.6 * len(train)))))
    assert 0.7 < coming_again(train) < 0.8
    found = {one.code: one.severity for one in audit_examples(with_parts(clean(), train=train, test=every(train, 10)))}
    assert found["test-in-train"] == "error"


@pytest.mark.parametrize(("natural", "bound"), [(0.0, 0.0), (0.2, 0.3), (0.5, 0.75), (0.8, 0.9), (1.0, 1.0)])
def test_what_is_beyond_nature_is_more_than_half_again_and_at_most_half_of_the_rest(natural: float, bound: float) -> None:
    assert beyond_nature(bound, natural) == pytest.approx(0.0)


def test_a_table_and_given_files_are_audited_as_labelled_rows(tmp_path: Path) -> None:
    lines = [f"{n % 2} {n % 7}:1 {20 + n % 5}:1 {40 + n}:1\n" for n in range(60)]
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.libfm").write_text("".join(lines if name == "train" else lines[:20]))
    codes = {finding.code for finding in audit(tmp_path).findings}
    assert {"test-in-train", "validation-is-test"} <= codes
    assert "is test.libfm again" in " ".join(finding.sentence for finding in audit(tmp_path).findings)
    path = tmp_path / "rows.csv"
    club = attlas.simulate(100, 60, seed=3, num_interactions=1500)
    labelled_rows(club.interactions, item_columns=["genre"], times=["hour"]).write_csv(path)
    found = audit(path, config=DataConfig(label="label", item_fields=("genre",)))
    assert "best-field" in {finding.code for finding in found.findings}
    assert found.worst == "info"
