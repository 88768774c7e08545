"""What is wrong with the settings of an experiment, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attlas.auditing.candidates import is_sampled
from attlas.auditing.finding import Finding
from attlas.data.inputs import Sizes
from attlas.data.split import Split
from attlas.evaluation.naming import counted
from attlas.evaluation.protocols import PROTOCOLS
from attlas.experiment import Experiment
from attlas.models import model_class
from attlas.models.protocol import asked_by
from attlas.training.solvers import make_solver


def audit_settings(experiment: Experiment, split: Split, *, subject: str = "settings") -> list[Finding]:
    """What is wrong with the settings, for this split: how the epochs are chosen, what is measured, what histories show."""
    return [
        *_blind_epochs(experiment, split, subject),
        *_sampled_only(experiment, split, subject),
        *_own_target(experiment, subject),
    ]


def _blind_epochs(experiment: Experiment, split: Split, subject: str) -> Iterator[Finding]:
    chosen: Any = model_class(experiment.model["name"])
    solver = make_solver(chosen(Sizes(1, 1), experiment.model_config()), experiment.solver)
    if split.valid is None and not solver.one_epoch:
        yield Finding(
            "blind-epochs",
            "warning",
            subject,
            f"{counted(experiment.training.epochs, 'epoch')} are trained and no validation part says when to stop",
            float(experiment.training.epochs),
            "if anybody chose this number by the test, the test's number is too high; if nobody did, it is too low",
            "split with a validation part; [training] refit = true learns from it afterwards",
        )


def _sampled_only(experiment: Experiment, split: Split, subject: str) -> Iterator[Finding]:
    codes = experiment.evaluation.protocol
    if codes and is_sampled(split) and all(code in PROTOCOLS and PROTOCOLS[code].against == "candidates" for code in codes):
        assert split.candidates is not None
        yield Finding(
            "sampled-only",
            "warning",
            subject,
            f"only {' and '.join(codes)} are measured: {split.candidates.shape[1]:,} candidates of "
            f"{len(split.train.items):,} items",
            split.candidates.shape[1] / len(split.train.items),
            "sampled metrics are higher than full ones and may order models another way",
            'measure the whole catalogue too: [evaluation] protocol = ["full", "ncf"]',
        )


def _own_target(experiment: Experiment, subject: str) -> Iterator[Finding]:
    config = experiment.model_config()
    histories = {"user_history", "item_history"} & set(asked_by(model_class(experiment.model["name"])))
    if histories and getattr(config, "leave_out", None) == "keep":
        yield Finding(
            "keeps-target",
            "warning",
            subject,
            'leave_out = "keep": in training each pair is in its own histories, in the test it never is',
            1.0,
            "the training loss falls by reading the answer; the test metric is lower than it could be",
            'leave_out = "remove", or "matched" where histories are summed',
        )
