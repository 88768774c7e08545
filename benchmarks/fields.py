"""An epoch of the models on feature fields beside the same models of other libraries; ranking in context; FM's time to quality.

ATTLAS_DATA=... python benchmarks/fields.py [--rounds 3] [--only epochs|ranking|quality] [--recbole PYTHON] [MODEL ...]

Rivals run where they can be imported: torchfm, deepctr_torch (the two in an environment with attlas) and xlearn; RecBole in an
environment of its own, whose PYTHON is given, after the others. Settings are those of all: batch 4096, vectors of 64, attention
32, NFM [64], DeepFM 400 x 3, no dropout, Adam at 0.001, logloss.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas  # noqa: F401  (before torch)

# isort: split
import numpy as np
import torch
from machine import Spell, data_folder, peak_mib, record

from attlas.data.encoding import in_context
from attlas.data.examples import ExampleInputs, Examples
from attlas.data.labelled import Layout, given_examples, read_parts
from attlas.evaluation.metrics import label_auc, logloss
from attlas.models import MODELS, model_class
from attlas.scoring import Scorer
from attlas.training.fit import Descent
from attlas.training.labelled import Logistic

NAMES = ("user", "item", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city")
BATCH, DIM, ATTENTION, RATE = 4096, 64, 32, 1e-3
OURS: dict[str, dict[str, Any]] = {
    "fm": {"embedding_dim": DIM},
    "nfm": {"embedding_dim": DIM, "layers": (64,), "norm": False, "dropout": 0.0, "hidden_dropout": 0.0},
    "deepfm": {"embedding_dim": DIM, "layers": (400, 400, 400), "dropout": 0.0},
    "afm": {"embedding_dim": DIM, "attention_dim": ATTENTION, "dropout": 0.0, "l2": 0.0},
}
FURTHER = {"deepfm in bfloat16": ("deepfm", {"precision": "bfloat16"}), "afm with dropout": ("afm", {"dropout": 0.2})}
CONTEXTS, USERS_ASKED = 50, 1
ENOUGH = 0.98  # of test AUC
Epoch = Callable[[int], Any]


def ours(name: str, inputs: ExampleInputs, **settings: Any) -> Epoch:
    """An epoch of one of ours."""
    chosen: Any = model_class(name)
    torch.manual_seed(1)
    model = chosen(inputs.sizes, chosen.Config(**OURS[name] | settings))
    solver = Descent(model, Logistic(batch_size=BATCH, unknown_share=0.0), learning_rate=RATE)
    return lambda number: solver.epoch(model, inputs, np.random.default_rng(number))


def torchfm(name: str, train: Examples) -> Epoch:
    """torchfm's model by a plain loop over shuffled rows."""
    from torchfm.model.afm import AttentionalFactorizationMachineModel
    from torchfm.model.dfm import DeepFactorizationMachineModel
    from torchfm.model.fm import FactorizationMachineModel
    from torchfm.model.nfm import NeuralFactorizationMachineModel

    sizes = list(train.features.sizes)
    made: Any = {
        "fm": lambda: FactorizationMachineModel(sizes, DIM),
        "nfm": lambda: NeuralFactorizationMachineModel(sizes, DIM, [64], (0.0, 0.0)),
        "deepfm": lambda: DeepFactorizationMachineModel(sizes, DIM, [400, 400, 400], 0.0),
        "afm": lambda: AttentionalFactorizationMachineModel(sizes, DIM, ATTENTION, (0.0, 0.0)),
    }[name]()
    steps = torch.optim.Adam(made.parameters(), RATE)
    index, label = torch.from_numpy(train.index - train.features.first[:-1]), torch.from_numpy(train.label)

    def epoch(number: int) -> None:
        torch.manual_seed(number)
        for rows in torch.randperm(len(index)).split(BATCH):
            steps.zero_grad()
            torch.nn.functional.binary_cross_entropy(made(index[rows]), label[rows]).backward()
            steps.step()

    return epoch


def deepctr(name: str, train: Examples) -> Epoch:
    """DeepCTR-Torch's model by its own fit, without its regularisers."""
    from deepctr_torch import models
    from deepctr_torch.inputs import SparseFeat

    names = list(train.features.names)
    columns = [SparseFeat(one, size, embedding_dim=DIM) for one, size in zip(names, train.features.sizes, strict=True)]
    plain = {"l2_reg_linear": 0, "l2_reg_embedding": 0, "task": "binary", "device": "cpu"}
    made: Any = {
        "fm": lambda: models.AFM(columns, columns, use_attention=False, **plain),
        "nfm": lambda: models.NFM(columns, columns, dnn_hidden_units=[64], **plain),
        "deepfm": lambda: models.DeepFM(columns, columns, dnn_hidden_units=[400, 400, 400], **plain),
        "afm": lambda: models.AFM(columns, columns, attention_factor=ATTENTION, l2_reg_att=0, **plain),
    }[name]()
    made.compile(torch.optim.Adam(made.parameters(), RATE), "binary_crossentropy", metrics=[])
    index = train.index - train.features.first[:-1]
    given = {one: index[:, place] for place, one in enumerate(names)}
    return lambda number: made.fit({one: part.copy() for one, part in given.items()}, train.label, BATCH, 1, verbose=0)


RIVALS: dict[str, Callable[[str, Examples], Epoch]] = {"torchfm": torchfm, "deepctr_torch": deepctr}


def recbole(python: str, name: str, train: Examples, rounds: int) -> dict[str, Any]:
    """What RecBole says of itself, run in an environment of its own."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.npz"
        np.savez(rows, index=train.index - train.features.first[:-1], label=train.label)
        script = Path(__file__).parent / "peers" / "recbole_fields.py"
        command = [python, str(script), {"deepfm": "DeepFM"}.get(name, name.upper()), str(rows), str(rounds)]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder).stdout
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


def epochs(names: list[str], train: Examples, rounds: int, python: str | None) -> list[dict[str, Any]]:
    """Rounds of ours and of every rival in turn; ratios are medians over rounds."""
    inputs, lines = ExampleInputs(train), []
    there = [name for name in RIVALS if importlib.util.find_spec(name)]
    for name in names:
        runs: dict[str, Epoch] = {"ours": ours(name, inputs)}
        runs |= {what: ours(name, inputs, **further) for what, (of, further) in FURTHER.items() if of == name}
        runs |= {rival: RIVALS[rival](name, train) for rival in there}
        for run in runs.values():
            run(0)
        spells: dict[str, list[Spell]] = {what: [] for what in runs}
        for number in range(1, rounds + 1):
            for what, run in runs.items():
                with Spell() as spell:
                    run(number)
                spells[what].append(spell)
        middle = {what: sorted(each, key=lambda one: one.wall)[rounds // 2].facts() for what, each in spells.items()}
        ratios = {
            f"{what} / {rival}{of}": round(statistics.median(measured(spells[what], spells[rival], of)), 4)
            for what in runs
            if what not in there
            for rival in there
            for of in ("", " cpu")
        }
        if python:
            middle["recbole"] = recbole(python, name, train, rounds)
            for what in (what for what in runs if what not in there):
                for of, kind in (("", "wall_s"), (" cpu", "cpu_s")):
                    ratios[f"{what} / recbole{of}"] = round(middle[what][kind] / middle["recbole"][kind], 4)
        lines.append({"what": f"{MODELS[name]} epoch on frappe", **ratios, **middle, "peak_mib": peak_mib()})
    return lines


def measured(mine: list[Spell], theirs: list[Spell], of: str) -> list[float]:
    """Each round's ratio, in wall or CPU seconds."""
    kind = "cpu" if of else "wall"
    return [getattr(one, kind) / getattr(other, kind) for one, other in zip(mine, theirs, strict=True)]


def ranking(names: list[str], train: Examples) -> list[dict[str, Any]]:
    """Milliseconds to score all apps for one user in one context, the median over contexts."""
    inputs, lines = ExampleInputs(train), []
    rows = np.random.default_rng(1).choice(len(train), CONTEXTS + 5, replace=False)
    asked = [dict(zip(NAMES[2:], train.features.said(train.index[row])[2:], strict=True)) for row in rows]
    for name in names:
        chosen: Any = model_class(name)
        torch.manual_seed(1)
        scorer = Scorer(chosen(inputs.sizes, chosen.Config(**OURS[name])).eval(), inputs)
        spells = []
        for row, context in zip(rows, asked, strict=True):
            user = train.ids("user")[[row]]
            with Spell() as spell:
                scorer.score_all(user, in_context(train.features, context, USERS_ASKED)[0])
            spells.append(spell)
        after = sorted(spells[5:], key=lambda one: one.wall)
        found = {"median_ms": after[len(after) // 2].wall * 1e3, "cpu_ms": statistics.median(one.cpu for one in after) * 1e3}
        facts = {name: round(value, 3) for name, value in found.items()}
        lines.append({"what": f"{MODELS[name]} ranks {len(train.items):,} apps in a context", **facts})
    return lines


def quality(parts: list[Examples], rate: float, batch: int, rounds: int) -> list[dict[str, Any]]:
    """Seconds of FM until its test AUC is enough, and of an epoch; in turn with xLearn's where it can be imported."""
    epoch = ours("fm", ExampleInputs(parts[0]))
    epoch(0)  # the first run of a process is slower, ours as theirs
    told: dict[str, list[Any]] = {"ours": [], "xlearn": []}
    for _ in range(rounds):
        mine = to_quality(parts, rate, batch)
        with Spell() as spell:
            for number in range(1, 10):
                epoch(number)
        told["ours"].append(mine | {"epoch_s": round(spell.wall / 9, 4)})
        if importlib.util.find_spec("xlearn"):
            told["xlearn"].append(xlearn(parts))
    line: dict[str, Any] = {"what": f"FM to a test AUC of {ENOUGH}, Adam at {rate}, batch {batch}"}
    for kind in ("seconds", "epoch_s"):
        ratios = [mine[kind] / theirs[kind] for mine, theirs in zip(told["ours"], told["xlearn"], strict=False)]
        line |= {f"{kind} / xlearn": round(statistics.median(ratios), 2)} if ratios else {}
    return [line | told]


def to_quality(parts: list[Examples], rate: float, batch: int) -> dict[str, Any]:
    """Epochs and seconds of our FM until its test AUC is enough."""
    train, _, test = parts
    inputs, chosen = ExampleInputs(train), model_class("fm")
    torch.manual_seed(1)
    model: Any = chosen(inputs.sizes, chosen.Config(**OURS["fm"]))  # type: ignore[attr-defined, call-arg]
    solver = Descent(model, Logistic(batch_size=batch, unknown_share=0.0), learning_rate=rate)
    seconds, found = 0.0, []
    for number in range(20):
        with Spell() as spell:
            solver.epoch(model.train(), inputs, np.random.default_rng(number))
        seconds += spell.wall
        score = Scorer(model.eval(), inputs).score_rows(test)
        found.append((label_auc(test.label, score), logloss(test.label, score)))
        if found[-1][0] >= ENOUGH:
            break
    auc, loss = (round(value, 4) for value in found[-1])
    return {"epochs": len(found), "seconds": round(seconds, 3), "auc": auc, "logloss": loss, "last": spell.facts()}


def xlearn(parts: list[Examples]) -> dict[str, Any]:
    """xLearn's FM: seconds an epoch, without those in which its file is read; and epochs and seconds to the same AUC."""
    import xlearn as library

    os.environ.setdefault("USER", "nobody")  # its log file wants one
    folder = Path(tempfile.mkdtemp())
    for name, part in zip(("train", "valid", "test"), parts, strict=True):
        lines = (f"{int(y)} " + " ".join(f"{i}:1" for i in row) for row, y in zip(part.index.tolist(), part.label, strict=True))
        (folder / name).write_text("\n".join(lines) + "\n")

    def fitted(count: int) -> tuple[Spell, float]:
        made = library.create_fm()
        made.setTrain(str(folder / "train"))
        for mute in (made.setQuiet, made.disableEarlyStop, made.disableNorm, made.setSigmoid):
            mute()
        setting = {"task": "binary", "lr": 0.2, "lambda": 2e-5, "k": DIM, "epoch": count, "nthread": os.cpu_count()}
        with Spell() as spell:
            made.fit(setting, str(folder / "model"))
        made.setTest(str(folder / "test"))
        made.predict(str(folder / "model"), str(folder / "said"))
        said = np.clip(np.loadtxt(folder / "said"), 1e-7, 1 - 1e-7)
        return spell, label_auc(parts[2].label, said)

    fitted(1)  # the first run of a process is slower
    found = [fitted(count) for count in range(1, 11)]
    (one, _), (ten, last) = found[0], found[-1]
    epoch = (ten.wall - one.wall) / 9
    count = next((place for place, (_, auc) in enumerate(found, start=1) if auc >= ENOUGH), len(found))
    return {"epoch_s": round(epoch, 4), "epochs": count, "seconds": round(count * epoch, 3), "auc": round(last, 4)}


def main() -> None:
    """A line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(OURS)}; without a word all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("epochs", "ranking", "quality"))
    parser.add_argument("--recbole", help="the Python of RecBole's environment")
    parser.add_argument("--rate", type=float, default=0.02, help="of FM's Adam, for its time to quality; chosen on validation")
    parser.add_argument("--batch", type=int, default=BATCH, help="of the same")
    words = parser.parse_args()
    files = given_examples(data_folder() / "frappe")
    parts = read_parts([files[part] for part in ("train", "valid", "test")], Layout(fields=NAMES))
    names = words.models or [*OURS]
    lines = epochs(names, parts[0], words.rounds, words.recbole) if words.only in (None, "epochs") else []
    lines += ranking(names, parts[0]) if words.only in (None, "ranking") else []
    lines += quality(parts, words.rate, words.batch, words.rounds) if words.only in (None, "quality") else []
    record("fields", lines)


if __name__ == "__main__":
    main()
