"""Every public function of attlas.ops against its literal twin: values, and gradients where there are any."""

import importlib
import inspect
import itertools
import pkgutil

import numpy as np
import pytest
import torch

import attlas.ops
from attlas.ops import cells as cells_ops
from attlas.ops import descent
from attlas.ops.descent import Tables
from attlas.ops.exposure import CellCost
from attlas.ops.ragged import Ragged

TOLERANCE = {torch.float64: 1e-10, torch.float32: 5e-5}
SHAPES = range(12)
cuda = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA"))


def public_functions() -> dict[str, object]:
    """Every public function of every module of attlas.ops, by module.function; kernels for one device are private."""
    found = {}
    for module in pkgutil.iter_modules(attlas.ops.__path__):
        if not module.name.startswith("_"):
            members = inspect.getmembers(importlib.import_module(f"attlas.ops.{module.name}"), inspect.isfunction)
            here = [(name, function) for name, function in members if function.__module__ == f"attlas.ops.{module.name}"]
            found |= {f"{module.name}.{name}": function for name, function in here if not name.startswith("_")}
    return found


FUNCTIONS = public_functions()
OPS = [name for name in FUNCTIONS if not name.endswith("_reference")]


def random_lists(rng: np.random.Generator) -> Ragged:
    """At least one row; rows may be empty, single or list the whole table."""
    width = int(rng.integers(1, 9))
    length = rng.integers(0, width + 1, size=int(rng.integers(1, 7)))
    return Ragged.of([sorted(rng.permutation(width)[:count].tolist()) for count in length], width)


def random_logits(rng: np.random.Generator, width: int) -> torch.Tensor:
    """Now near each other, now so far that exp of their differences vanishes, now whole numbers with many ties."""
    kinds = (rng.normal(0, 4, width), -np.abs(rng.normal(0, 90, width)), rng.integers(-1, 2, width).astype(np.float64))
    return torch.from_numpy(kinds[rng.integers(3)])


def random_values(rng: np.random.Generator, width: int) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal((width, int(rng.integers(1, 5)))))


def smoothing_of(rng: np.random.Generator) -> float:
    return float(rng.choice([1.0, 0.5]))


def segment_sum(rng):
    rows = random_lists(rng)
    return {"table_ED": random_values(rng, rows.width), "rows": rows}


def segment_softmax(rng):
    rows = random_lists(rng)
    return {"logit_E": random_logits(rng, rows.width), "rows": rows, "smoothing": smoothing_of(rng)}


def askers(rng, rows, logit_T):
    """Several askers of one row; each leaves out nothing, any entry, or the one with the largest logit."""
    row_B = rng.integers(0, rows.count, size=12)
    left_out = []
    for row in row_B:
        first, last = int(rows.start[row]), int(rows.start[row + 1])
        top = first + int(logit_T[first:last].argmax()) if last > first else -1
        left_out.append(int(rng.choice([-1, top, rng.integers(first, last)])) if last > first else -1)
    return {"row_B": torch.from_numpy(row_B), "left_out_B": torch.tensor(left_out)}


def attentive_sum(rng):
    rows = random_lists(rng)
    logit_E = random_logits(rng, rows.width)
    asked = askers(rng, rows, logit_E[rows.index])
    value_ED = random_values(rng, rows.width)
    return {"value_ED": value_ED, "logit_E": logit_E, "rows": rows, **asked, "smoothing": smoothing_of(rng)}


def attentive_sum_of_entries(rng):
    rows = random_lists(rng)
    logit_T = random_logits(rng, len(rows.index))
    asked = askers(rng, rows, logit_T)
    value_ED = random_values(rng, rows.width)
    return {"value_ED": value_ED, "logit_T": logit_T, "rows": rows, **asked, "smoothing": smoothing_of(rng)}


def segment_sum_without(rng):
    case = attentive_sum(rng)
    return {"table_ED": case["value_ED"], **{name: case[name] for name in ("rows", "row_B", "left_out_B")}}


def cooccurrence(rng):
    rows = random_lists(rng)
    first_E1, row_T, _ = rows.transposed
    return {"rows": rows, "columns": Ragged(first_E1, row_T, rows.count)}


def asked(rng):
    """Lists, and askers of them with a target each; some targets nobody asks about."""
    rows, count = random_lists(rng), int(rng.integers(1, 5))
    askers = int(rng.integers(0, 12))
    target_B, row_B = (torch.from_numpy(rng.integers(0, size, askers)) for size in (count, rows.count))
    return {"rows": rows, "target_B": target_B, "row_B": row_B, "count": count}


def asked_about(rng):
    case = asked(rng)
    return {"target_B": case["target_B"], "count": case["count"]}


def some_cells(rng):
    """Left and right rows, and which of their pairs are wanted: all, or those of random lists."""
    wanted = random_lists(rng)
    return Ragged.full(wanted.count, wanted.width) if rng.random() < 0.5 else wanted


def ready_gates(rng):
    dim, asked = int(rng.integers(1, 5)), int(rng.integers(1, 6))
    logits = torch.stack([random_logits(rng, 2 * dim) for _ in range(asked)])
    return {"logit_IG": logits, "sum_ID": torch.from_numpy(rng.standard_normal((asked, dim)))}


def gated_products(rng):
    """Half the time the largest logits of the two sides may stand so far apart that exp of both vanishes."""
    of_asked = ready_gates(rng)
    dim, asking, hidden = of_asked["sum_ID"].shape[1], *rng.integers(1, 5, 2)
    logits = torch.stack([random_logits(rng, 2 * dim) for _ in range(asking)])
    shapes = {"sum_VD": (asking, dim), "weight_HG": (hidden, 2 * dim)}
    return (
        of_asked | {name: torch.from_numpy(rng.standard_normal(shape)) for name, shape in shapes.items()} | {"logit_VG": logits}
    )


def rectified_product(rng):
    cells, dim, hidden = some_cells(rng), *rng.integers(1, 5, 2)
    shapes = {"left_CD": (cells.count, dim), "right_ED": (cells.width, dim), "weight_DA": (dim, hidden)}
    tables = shapes | {"bias_A": (hidden,), "head_A": (hidden,)}
    return {name: torch.from_numpy(rng.standard_normal(shape)) for name, shape in tables.items()} | {"cells": cells}


def rectified_sum(rng):
    cells, hidden = some_cells(rng), int(rng.integers(1, 5))
    shapes = {"left_CA": (cells.count, hidden), "right_EA": (cells.width, hidden), "head_A": (hidden,)}
    return {name: torch.from_numpy(rng.standard_normal(shape)) for name, shape in shapes.items()} | {"cells": cells}


def targeted_sum(rng):
    """The cells that are asked for; each asker leaves out nothing, any entry, or the one with the largest logit."""
    case = asked(rng)
    case = asked(rng) if not len(case["row_B"]) else case
    rows, target_B, row_B = case["rows"], case["target_B"], case["row_B"]
    cells = cells_ops.asked_cells_reference(**case)
    logit_N = random_logits(rng, len(cells.index))
    left_out = []
    for c, g in zip(target_B.tolist(), row_B.tolist(), strict=True):
        first, last = int(rows.start[g]), int(rows.start[g + 1])
        place = cells.find(torch.full((last - first,), c), rows.index[first:last])
        top = first + int(logit_N[place].argmax()) if last > first else -1
        left_out.append(int(rng.choice([-1, top, rng.integers(first, last)])) if last > first else -1)
    tables = {"value_N": torch.from_numpy(rng.standard_normal(len(logit_N))), "logit_N": logit_N, "cells": cells}
    asking = {"rows": rows, "target_B": target_B, "row_B": row_B, "left_out_B": torch.tensor(left_out, dtype=torch.int64)}
    return {**tables, **asking, "smoothing": smoothing_of(rng)}


def every_targeted_sum(rng):
    rows, targets = random_lists(rng), int(rng.integers(1, 4))
    logit_CE = torch.stack([random_logits(rng, rows.width) for _ in range(targets)])
    value_CE = torch.from_numpy(rng.standard_normal((targets, rows.width)))
    return {"value_CE": value_CE, "logit_CE": logit_CE, "rows": rows, "smoothing": smoothing_of(rng)}


def pair_products(rng):
    pairs, dim = int(rng.integers(0, 20)), int(rng.integers(1, 5))
    case = {}
    for side, letter in (("left", "G"), ("right", "E")):
        table = rng.standard_normal((int(rng.integers(1, 7)), dim))
        case[f"{side}_{letter}D"] = torch.from_numpy(table)
        case[f"{side}_B"] = torch.from_numpy(rng.integers(0, len(table), pairs))
    return case


def nth_missing(rng):
    rows = random_lists(rng)
    row_B = rng.integers(0, rows.count, size=20)
    return {
        "start_G1": rows.start.numpy(),
        "index_T": rows.index.numpy(),
        "row_B": row_B,
        "rank_B": rng.integers(0, rows.width + 2, size=20),
    }


def hidden_part(rng, num_rows, num_columns):
    """A score block with many ties, and of each row some columns that are hidden and some of the others."""
    score_UI = rng.integers(-2, 3, (num_rows, num_columns)).astype(np.float64)
    column = [rng.permutation(num_columns) for _ in range(num_rows)]
    cut = [sorted(rng.integers(0, num_columns + 1, size=2)) for _ in range(num_rows)]
    hidden = Ragged.of([row[:low].tolist() for row, (low, _) in zip(column, cut, strict=True)], num_columns)
    other = Ragged.of([row[low:high].tolist() for row, (low, high) in zip(column, cut, strict=True)], num_columns)
    return score_UI, hidden, other


def top_k(rng):
    score_UI, hidden, _ = hidden_part(rng, int(rng.integers(1, 5)), int(rng.integers(1, 9)))
    return {
        "score_UI": score_UI,
        "k": int(rng.integers(0, 10)),
        "hidden_start": hidden.start.numpy(),
        "hidden_index": hidden.index.numpy(),
        "draw_U": rng.integers(0, 2**64, len(score_UI), dtype=np.uint64) if rng.random() < 0.5 else None,
    }


def count_ahead(rng):
    score_UI, hidden, relevant = hidden_part(rng, int(rng.integers(1, 5)), int(rng.integers(1, 9)))
    return {
        "score_UI": score_UI,
        "relevant_start": relevant.start.numpy(),
        "relevant_index": relevant.index.numpy(),
        "hidden_start": hidden.start.numpy(),
        "hidden_index": hidden.index.numpy(),
    }


def ridge_rows(rng):
    """Well-conditioned equations: the shared part alone is of full rank."""
    rows = random_lists(rng)
    table_ED = random_values(rng, rows.width)
    half_DD = torch.from_numpy(rng.standard_normal((table_ED.shape[1], table_ED.shape[1])))
    return {
        "table_ED": table_ED,
        "rows": rows,
        "weight_T": torch.from_numpy(rng.uniform(0, 2, len(rows.index))),
        "target_T": torch.from_numpy(rng.uniform(0, 2, len(rows.index))),
        "gram_DD": half_DD.T @ half_DD,
        "penalty_G": torch.from_numpy(rng.uniform(1, 2, rows.count)),
    }


def ridge_rows_nearly(rng):
    case = ridge_rows(rng)
    begin_GD = torch.from_numpy(rng.standard_normal((case["rows"].count, case["table_ED"].shape[1])))
    return {**case, "begin_GD": begin_GD, "steps": int(rng.integers(0, 5))}


def outer_products(rng):
    return {"table_ED": random_values(rng, int(rng.integers(1, 7)))}


def ridge_packed(rng):
    """Well-conditioned equations: the penalty is of the size of the rest."""
    count, dim = int(rng.integers(1, 20)), int(rng.integers(1, 7))
    value_GED = rng.standard_normal((count, int(rng.integers(1, 9)), dim))
    r_P, k_P = np.triu_indices(dim)
    return {
        "gram_GP": torch.from_numpy((value_GED.transpose(0, 2, 1) @ value_GED)[:, r_P, k_P]),
        "right_GD": torch.from_numpy(rng.standard_normal((count, dim))),
        "penalty_G": torch.from_numpy(rng.uniform(1, 2, count)),
    }


def sweep_coordinates(rng):
    """Rows without entries, with few, and with more than fill a line."""
    width = int(rng.choice([3, 20, 70]))
    length = rng.integers(0, width + 1, size=int(rng.integers(1, 7)))
    rows = Ragged.of([sorted(rng.permutation(width)[:count].tolist()) for count in length], width)
    table_ED = torch.from_numpy(rng.standard_normal((width, int(rng.integers(1, 7)))))
    return {
        "table_ED": table_ED,
        "rows": rows,
        "weight_T": torch.from_numpy(rng.uniform(0, 2, len(rows.index))),
        "target_T": torch.from_numpy(rng.uniform(0, 2, len(rows.index))),
        "gram_DD": table_ED.T @ table_ED,
        "scale_G": torch.from_numpy(rng.uniform(0, 2, rows.count)),
        "penalty": float(rng.uniform(0.5, 2)),
        "begin_GD": torch.from_numpy(rng.standard_normal((rows.count, table_ED.shape[1]))),
    }


def follow_pairs(rng):
    """Some pairs come twice, and some of rows that list nothing."""
    case = sweep_coordinates(rng)
    rows, count = case["rows"], int(rng.integers(0, 9))
    start_E1, owner_T, entry_T = rows.transposed
    weight_T, target_T = case["weight_T"], case["target_T"]
    return {
        "left_GD": case["begin_GD"],
        "right_ED": case["table_ED"],
        "left": (rows, weight_T, target_T),
        "right": (Ragged(start_E1, owner_T, rows.count), weight_T[entry_T], target_T[entry_T]),
        "scale_E": torch.from_numpy(rng.uniform(0, 2, rows.width)),
        "penalty": case["penalty"],
        "left_N": torch.from_numpy(rng.integers(0, rows.count, count)),
        "right_N": torch.from_numpy(rng.integers(0, rows.width, count)),
        "rounds": int(rng.integers(1, 3)),
    }


def inner_products(rng):
    rows = random_lists(rng)
    right_ED = random_values(rng, rows.width)
    return {
        "left_GD": torch.from_numpy(rng.standard_normal((rows.count, right_ED.shape[1]))),
        "right_ED": right_ED,
        "rows": rows,
    }


def sparse_product(rng):
    """Now with the matrix by its columns too, now without."""
    rows = random_lists(rng)
    value_T = torch.from_numpy(rng.standard_normal(len(rows.index)))
    first_E1, row_T, entry_T = rows.transposed
    columns = (Ragged(first_E1, row_T, rows.count), value_T[entry_T]) if rng.random() < 0.5 else None
    return {"rows": rows, "value_T": value_T, "table_ED": random_values(rng, rows.width), "columns": columns}


def residuals(rng):
    rows = random_lists(rng)
    sizes = {"value_T": len(rows.index), "row_G": rows.count, "column_E": rows.width}
    return {"rows": rows} | {name: torch.from_numpy(rng.standard_normal(size)) for name, size in sizes.items()}


def factorise(rng):
    """Non-negative cells, among them zeros; rows and columns that nobody knows anything of."""
    rows = random_lists(rng)
    dim, value_T = int(rng.integers(1, 4)), torch.from_numpy(rng.integers(0, 6, len(rows.index)).astype(np.float64))
    tables = {
        "left_GD": torch.from_numpy(rng.random((rows.count, dim))),
        "right_ED": torch.from_numpy(rng.random((rows.width, dim))),
    }
    return {**tables, "rows": rows, "value_T": value_T, "steps": int(rng.integers(0, 4))}


def correlate(rng):
    """Odd and even sizes, equal and unequal ones; rows that no pair names, and rows that many do."""
    size, pairs = int(rng.integers(1, 12)), int(rng.integers(1, 12))
    left_GD = torch.from_numpy(rng.standard_normal((int(rng.integers(1, 6)), int(rng.integers(1, size + 1)))))
    right_HE = torch.from_numpy(rng.standard_normal((int(rng.integers(1, 6)), size)))
    left_B, right_B = (torch.from_numpy(rng.integers(0, len(table), pairs)) for table in (left_GD, right_HE))
    return {"left_GD": left_GD, "left_B": left_B, "right_HE": right_HE, "right_B": right_B}


def attend(rng):
    """Fewer and more rows than are asked."""
    rows, asked, dim, wide = (int(number) for number in rng.integers(1, 7, 4))
    shapes = {"query_GD": (rows, dim), "key_AD": (asked, dim), "value_AE": (asked, wide)}
    return {name: torch.from_numpy(rng.standard_normal(shape)) for name, shape in shapes.items()} | {
        "scale": float(rng.random())
    }


def exposed_error(rng):
    """Scores from far below to far above 1; shares of one community and of several."""
    rows = random_lists(rng)
    right_ED = random_values(rng, rows.width)
    shares = int(rng.integers(1, 4))
    return {
        "left_GD": torch.from_numpy(rng.standard_normal((rows.count, right_ED.shape[1]))),
        "left_share_GC": torch.from_numpy(rng.dirichlet(np.ones(shares), rows.count)),
        "right_ED": right_ED,
        "right_share_EC": torch.from_numpy(rng.uniform(0.1, 0.9, (rows.width, shares))),
        "rows": rows,
        "cost": CellCost(0.3, float(rng.choice([1.0, 2.0])), bool(rng.integers(2)), 0.7, float(rng.choice([0.0, 0.4]))),
    }


def mixed_grams(rng):
    table_ED = random_values(rng, int(rng.integers(1, 9)))
    return {"table_ED": table_ED, "share_EC": torch.from_numpy(rng.random((len(table_ED), int(rng.integers(1, 4)))))}


def responsibilities(rng):
    rows, shares = random_lists(rng), int(rng.integers(1, 4))
    own_GC, other_EC = (torch.from_numpy(rng.uniform(0.1, 1, (count, shares))) for count in (rows.count, rows.width))
    return {"own_GC": own_GC, "other_EC": other_EC, "rows": rows}


def mixed_ridge_rows(rng):
    """Shares, entries with weights and without, exactly and by a few steps."""
    case = ridge_rows_nearly(rng)
    gram_DD, shares = case.pop("gram_DD"), int(rng.integers(1, 4))
    scale_C = torch.from_numpy(rng.uniform(0.5, 2, shares))
    return {
        **case,
        "weight_T": case["weight_T"] if rng.random() < 0.5 else None,
        "gram_DCD": scale_C[:, None] * gram_DD[:, None, :],
        "share_GC": torch.from_numpy(rng.dirichlet(np.ones(shares), case["rows"].count)),
        "steps": None if rng.random() < 0.5 else case["steps"],
    }


def deal_cells(rng):
    num_users, num_items, count = (int(number) for number in rng.integers(1, (30, 200, 200)))
    return {
        "user_N": rng.integers(0, num_users, count),
        "item_N": rng.integers(0, num_items, count),
        "num_users": num_users,
        "num_items": num_items,
        "rng": int(rng.integers(100)),
    }


def descend_on_choices(rng):
    """Up to four groups of users and items."""
    width = int(rng.integers(1, 70))
    length = rng.integers(0, width + 1, size=int(rng.integers(1, 7)))
    rows = Ragged.of([sorted(rng.permutation(width)[:count].tolist()) for count in length], width)
    pairs = rows.owner.numpy(), rows.index.numpy()
    shape = rows.count, rows.width
    dim = int(rng.integers(1, 5))
    return {
        "tables": Tables(*(rng.normal(size=size).astype(np.float32) for size in ((shape[0], dim), (shape[1], dim), *shape))),
        "listed": (rows.start.numpy(), rows.index.numpy()),
        "pairs": pairs,
        "cells": descent.deal_cells(*pairs, *shape, rng),
        "negatives": int(rng.integers(0, 3)),
        "pairwise": bool(rng.integers(2)),
        "learning_rate": 0.1,
        "l2": 0.01,
        "seed": int(rng.integers(1000)),
    }


def descend_on_ratings(rng):
    case = descend_on_choices(rng)
    ratings = rng.integers(1, 6, len(case["pairs"][0])).astype(np.float32)
    return {name: case[name] for name in ("tables", "cells", "learning_rate", "l2")} | {"pairs": (*case["pairs"], ratings)}


def elastic_net(rng):
    """Penalties of which either or both may be nothing; columns that are all zero, or equal where l2 tells them apart."""
    rows = random_lists(rng)
    x_UI = np.zeros((rows.count, rows.width))
    x_UI[rows.owner, rows.index] = 1.0
    if rng.random() < 0.5:
        x_UI = np.vstack([x_UI, rng.standard_normal((rows.width, rows.width))])
    l2 = float(rng.choice([0.5, 4.0]))
    penalties = {"l1": float(rng.choice([0.0, 0.3, 1.5])), "l2": l2, "non_negative": bool(rng.random() < 0.5)}
    return {"gram_II": x_UI.T @ x_UI, **penalties, "tolerance": 1e-13, "max_sweeps": 3000}


def pattern_of(rows: Ragged) -> dict[str, np.ndarray]:
    first_E1, row_T, _ = rows.transposed
    return {
        "row_start": rows.start.numpy(),
        "row_index": rows.index.numpy(),
        "column_start": first_E1.numpy(),
        "column_index": row_T.numpy(),
    }


def nearest_columns(rng):
    """Scales and a shrink, so that no two similarities are equal but for the rounding, which would decide their order."""
    rows = random_lists(rng)
    weights = {"row_weight_U": rng.random(rows.count), "scale_I": rng.random(rows.width) + 0.5}
    measure = {"similarity": str(rng.choice(["cosine", "jaccard"])), "target_power": float(rng.choice([0.5, 0.2]))}
    return {**pattern_of(rows), "k": int(rng.integers(0, 10)), **weights, **measure, "shrink": float(rng.choice([0.5, 3.0]))}


def sum_neighbours(rng):
    rows = random_lists(rng)
    named = Ragged.of(
        [sorted(rng.permutation(rows.width)[: rng.integers(rows.width + 1)]) for _ in range(rows.width)], rows.width
    )
    return {
        "list_start": rows.start.numpy(),
        "list_index": rows.index.numpy(),
        "neighbour_start": named.start.numpy(),
        "neighbour_index": named.index.numpy(),
        "weight_T": rng.standard_normal(len(named.index)),
    }


def cosines_before(rng):
    """Lists with gaps and repetitions; some columns are empty."""
    rows = random_lists(rng)
    listed_Gk = rng.integers(-1, rows.width, (int(rng.integers(1, 5)), int(rng.integers(0, 7))))
    pattern = {name: value for name, value in pattern_of(rows).items() if name.startswith("column")}
    return {**pattern, "num_rows": rows.count, "listed_Gk": listed_Gk}


def relu_of_halves(rng):
    """Rows that no pair names, and rows that many do."""
    left_GC = random_values(rng, int(rng.integers(1, 6)))
    right_HC = torch.from_numpy(rng.standard_normal((int(rng.integers(1, 6)), left_GC.shape[1])))
    named = {
        name: torch.from_numpy(rng.integers(0, count, 12))
        for name, count in (("left_B", len(left_GC)), ("right_B", len(right_HC)))
    }
    return {"left_GC": left_GC, "left_B": named["left_B"], "right_HC": right_HC, "right_B": named["right_B"]}


def products_and_relu_of_halves(rng):
    """No products, a few, and more than are summed side by side."""
    left_GC, right_HC = (torch.from_numpy(rng.standard_normal((int(rng.integers(1, 6)), 11))) for _ in range(2))
    named = {"left_B": rng.integers(0, len(left_GC), 12), "right_B": rng.integers(0, len(right_HC), 12)}
    rows = {name: torch.from_numpy(row_B) for name, row_B in named.items()}
    return {"left_GC": left_GC, "right_HC": right_HC, **rows, "split": int(rng.choice([0, 3, 6, 11]))}


def relu_layers(rng):
    count, width, inputs, outputs = (int(number) for number in rng.integers(1, 6, 4))
    shapes = {"hidden_NWH": (count, width, inputs), "weight_WHK": (width, inputs, outputs), "bias_WK": (width, outputs)}
    return {name: torch.from_numpy(rng.standard_normal(shape)) for name, shape in shapes.items()}


def random_tower(rng, widths):
    """What lies above the first layer."""
    return {
        "weights": tuple(torch.from_numpy(rng.standard_normal((above, below))) for below, above in itertools.pairwise(widths)),
        "biases": tuple(torch.from_numpy(rng.standard_normal(width)) for width in widths[1:]),
        "head_K": torch.from_numpy(rng.standard_normal(widths[-1])),
    }


def judge_every_pair(rng):
    """No further layer, one or two; now one column of pairs, now more than a tile and than a block of them."""
    widths = rng.integers(1, 11, int(rng.integers(1, 4))).tolist()
    counts = {"left_GH": int(rng.integers(1, 4)), "right_RH": int(rng.choice([1, 5, 64, 70, 513]))}
    tables = {name: torch.from_numpy(rng.standard_normal((count, widths[0]))) for name, count in counts.items()}
    return {**tables, **random_tower(rng, widths)}


def judge_listed_pairs(rng):
    """With and without products; no further layer, one or two, now and then a wide one; part of a tile, and two blocks."""
    widths = rng.integers(1, 11, int(rng.integers(1, 4))).tolist()
    widths[0] = int(rng.choice([widths[0], 70], p=[0.8, 0.2]))
    columns, pairs = widths[0] + int(rng.choice([0, 3])), int(rng.choice([1, 12, 64, 600]))
    left_GC, right_RC = (torch.from_numpy(rng.standard_normal((int(rng.integers(1, 6)), columns))) for _ in range(2))
    named = {"left_B": rng.integers(0, len(left_GC), pairs), "right_B": rng.integers(0, len(right_RC), pairs)}
    rows = {name: torch.from_numpy(row_B) for name, row_B in named.items()}
    return {"left_GC": left_GC, "right_RC": right_RC, **rows, **random_tower(rng, widths)}


def distinct(rng):
    count = int(rng.integers(1, 20))
    return {"asker_B": torch.from_numpy(rng.integers(0, 6, count)), "is_apart_B": torch.from_numpy(rng.random(count) < 0.3)}


def some_fields(rng):
    """Rows of one to five fields; some entries stand in many rows, some in none."""
    fields, width = (int(number) for number in rng.integers(1, 6, 2))
    index_BF = rng.integers(0, 4, (int(rng.integers(1, 40)), fields)) + 3 * np.arange(fields)
    entries = 3 * fields + 2
    return {"table_ED": torch.from_numpy(rng.standard_normal((entries, width))), "index_BF": torch.from_numpy(index_BF)}


def field_sum(rng):
    case = some_fields(rng)
    return {"table_EK": case["table_ED"], "index_BF": case["index_BF"]}


def weighted_pair_sum(rng):
    case = some_fields(rng)
    rows, fields = case["index_BF"].shape
    return {**case, "weight_BP": torch.from_numpy(rng.standard_normal((rows, fields * (fields - 1) // 2)))}


def only_index(rng):
    return {"index_BF": some_fields(rng)["index_BF"]}


def judge_pairs(rng):
    """Narrow tables, and wide ones that two threads share."""
    count, hidden, width = int(rng.integers(1, 60)), int(rng.integers(1, 5)), int(rng.choice([1, 5, 18]))
    tensor = lambda *shape: torch.from_numpy(rng.standard_normal(shape))  # noqa: E731
    ends = {name: torch.from_numpy(rng.integers(0, 7, count)) for name in ("one_N", "other_N")}
    network = {"weight_DA": tensor(width, hidden), "bias_A": tensor(hidden), "head_A": tensor(hidden)}
    return {"table_ED": tensor(7, width), **ends, **network, "output_D": tensor(width)}


CASES = {
    "fields.field_sum": field_sum,
    "fields.pair_sum": some_fields,
    "fields.weighted_pair_sum": weighted_pair_sum,
    "fields.distinct_pairs": only_index,
    "fields.judge_pairs": judge_pairs,
    "fields.pair_places": only_index,
    "halves.distinct": distinct,
    "towers.judge_every_pair": judge_every_pair,
    "towers.judge_listed_pairs": judge_listed_pairs,
    "abreast.relu_layers": relu_layers,
    "halves.relu_of_halves": relu_of_halves,
    "halves.products_and_relu_of_halves": products_and_relu_of_halves,
    "descent.deal_cells": deal_cells,
    "descent.descend_on_choices": descend_on_choices,
    "descent.descend_on_ratings": descend_on_ratings,
    "segments.segment_sum": segment_sum,
    "segments.segment_sum_without": segment_sum_without,
    "segments.segment_softmax": segment_softmax,
    "segments.attentive_sum": attentive_sum,
    "entries.attentive_sum_of_entries": attentive_sum_of_entries,
    "cells.asked_about": asked_about,
    "cells.asked_cells": asked,
    "cells.rectified_product": rectified_product,
    "cells.rectified_sum": rectified_sum,
    "targets.targeted_sum": targeted_sum,
    "targets.every_targeted_sum": every_targeted_sum,
    "gram.cooccurrence": cooccurrence,
    "gram.inner_products": inner_products,
    "gram.pair_products": pair_products,
    "gram.sparse_product": sparse_product,
    "gram.residuals": residuals,
    "correlation.correlate_by_windows": correlate,
    "correlation.correlate_by_fft": correlate,
    "attention.attend": attend,
    "gates.ready_gates": ready_gates,
    "gates.gated_products": gated_products,
    "factors.factorise": factorise,
    "ridge.ridge_rows": ridge_rows,
    "ridge.ridge_rows_nearly": ridge_rows_nearly,
    "packed.outer_products": outer_products,
    "packed.ridge_packed": ridge_packed,
    "coordinates.sweep_coordinates": sweep_coordinates,
    "coordinates.follow_pairs": follow_pairs,
    "exposure.exposed_error": exposed_error,
    "exposure.mixed_grams": mixed_grams,
    "mixed_ridge.mixed_ridge_rows": mixed_ridge_rows,
    "exposure.responsibilities": responsibilities,
    "rows.nth_missing": nth_missing,
    "topk.top_k": top_k,
    "ranks.count_ahead": count_ahead,
    "elastic.elastic_net": elastic_net,
    "neighbours.nearest_columns": nearest_columns,
    "neighbours.sum_neighbours": sum_neighbours,
    "neighbours.cosines_before": cosines_before,
}
ALWAYS_SINGLE = ["descent.descend_on_choices", "descent.descend_on_ratings"]
SMOOTH = [
    "segments.segment_sum",
    "segments.segment_sum_without",
    "segments.segment_softmax",
    "segments.attentive_sum",
    "entries.attentive_sum_of_entries",
]
SMOOTH += ["fields.field_sum", "fields.pair_sum", "fields.weighted_pair_sum", "fields.judge_pairs"]
SMOOTH += ["cells.rectified_product", "cells.rectified_sum", "targets.targeted_sum", "gram.pair_products"]
SMOOTH += ["correlation.correlate_by_windows", "correlation.correlate_by_fft", "attention.attend"]
SMOOTH += ["exposure.exposed_error", "gates.gated_products"]


def moved(value: object, dtype: torch.dtype, device: str) -> object:
    """The same argument on a device; tensors of numbers in ``dtype``, ready for gradients."""
    if isinstance(value, Ragged):
        return Ragged(value.start.to(device), value.index.to(device), value.width)
    if type(value) is tuple:
        return tuple(moved(part, dtype, device) for part in value)
    if not isinstance(value, torch.Tensor):
        return value
    return value.to(device, dtype).requires_grad_() if value.is_floating_point() else value.to(device)


def results(function, arguments: dict, dtype: torch.dtype, device: str) -> tuple[list, list]:
    """What a function returns, and the gradient of a fixed mixture of it with respect to every tensor of numbers."""
    given = {name: moved(value, dtype, device) for name, value in arguments.items()}
    if isinstance(seed := given.get("rng"), int):
        given["rng"] = np.random.default_rng(seed)
    value = function(**given)
    numbers = (one for one in flat(tuple(given.values())) if isinstance(one, torch.Tensor))
    leaves = [tensor for tensor in numbers if tensor.requires_grad]
    if not leaves:
        return flat(value), []
    value = torch.cat([part.flatten() for part in flat(value)])
    mixture = torch.linspace(-1, 2, value.numel(), dtype=dtype, device=device)
    # Where all lists are empty the twin's result hangs on nothing; the addend makes its gradient zero instead of an error.
    total = (value * mixture).sum() + sum(0.0 * leaf.sum() for leaf in leaves)
    return [value.detach()], list(torch.autograd.grad(total, leaves))


def flat(value: object) -> list:
    """Arrays and numbers out of tuples within tuples; a pattern is where its rows begin and what they list."""
    if isinstance(value, Ragged):
        return [value.start, value.index]
    return [one for part in value for one in flat(part)] if isinstance(value, tuple) else [value]


def assert_alike(found: list, expected: list, tolerance: float) -> None:
    for one, other in zip(found, expected, strict=True):
        ours, theirs = torch.as_tensor(one).cpu(), torch.as_tensor(other).cpu()
        torch.testing.assert_close(ours.to(theirs.dtype), theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", OPS)
def test_every_public_op_has_a_twin_and_a_case(name):
    assert f"{name}_reference" in FUNCTIONS, f"{name} has no literal twin beside it"
    assert name in CASES, f"{name} has no case in this test"


def test_every_twin_and_every_case_belongs_to_an_op():
    assert {name.removesuffix("_reference") for name in FUNCTIONS} == set(OPS) == set(CASES)


@pytest.mark.parametrize("device", ["cpu", cuda])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CASES)
def test_an_op_equals_its_twin_in_values_and_gradients(name, dtype, device):
    for seed in SHAPES:
        arguments = CASES[name](np.random.default_rng(seed))
        value, gradient = results(FUNCTIONS[name], arguments, dtype, device)
        twin_value, twin_gradient = results(FUNCTIONS[f"{name}_reference"], arguments, dtype, device)
        tolerance = TOLERANCE[torch.float32 if name in ALWAYS_SINGLE else dtype]
        assert_alike(value, twin_value, tolerance)
        assert_alike(gradient, twin_gradient, tolerance)


# What is built at a time, lowered until these small cases take many blocks.
SMALL = {
    "attention": {"LOGITS_AT_ONCE": 3},
    "cells": {"HIDDEN_FLOATS": 6, "FOLDED_FLOATS": 4},
    "coordinates": {"PAIRS": 2},
    "exposure": {"BLOCK_FLOATS": 6},
    "fields": {"CHUNK_FLOATS": 30},
    "gram": {"DENSE_FLOATS": 6},
    "mixed_ridge": {"BLOCK_FLOATS": 20, "ENTRY_FLOATS": 6},
    "ridge": {"BLOCK_FLOATS": 20, "DEVICE_FLOATS": 20},
}
CUT = [name for name in CASES if name.partition(".")[0] in SMALL]
BRANCHING = [name for name in CASES if "can_read" in inspect.getsource(inspect.getmodule(FUNCTIONS[name]))]


@pytest.mark.parametrize(("readable", "name"), [*(("cpu", name) for name in CUT), *(("nothing", name) for name in BRANCHING)])
def test_with_kernels_and_without_an_op_in_small_blocks_equals_its_twin(name, readable, monkeypatch):
    monkeypatch.setattr("attlas.ops._numba.READABLE", readable)
    module = name.partition(".")[0]
    for constant, size in SMALL.get(module, {}).items():
        monkeypatch.setattr(f"attlas.ops.{module}.{constant}", size)
    for seed in SHAPES:
        arguments = CASES[name](np.random.default_rng(seed))
        found = results(FUNCTIONS[name], arguments, torch.float64, "cpu")
        expected = results(FUNCTIONS[f"{name}_reference"], arguments, torch.float64, "cpu")
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other, TOLERANCE[torch.float64])


def by_columns(value: object) -> object:
    """The same table, its columns one after another in memory."""
    return value.T.contiguous().T if isinstance(value, torch.Tensor) and value.dim() == 2 else value


@pytest.mark.parametrize(
    "name", ["gram.pair_products", "cells.rectified_sum", "exposure.exposed_error", "exposure.responsibilities"]
)
def test_tables_that_lie_by_columns_give_the_values_and_gradients_of_those_that_lie_by_rows(name):
    for seed in SHAPES:
        arguments = CASES[name](np.random.default_rng(seed))
        laid = {key: by_columns(value) for key, value in arguments.items()}
        found = results(FUNCTIONS[name], laid, torch.float64, "cpu")
        expected = results(FUNCTIONS[f"{name}_reference"], arguments, torch.float64, "cpu")
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other, TOLERANCE[torch.float64])


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_equal_finite_differences(name):
    arguments = CASES[name](np.random.default_rng(3))
    given = {key: moved(value, torch.float64, "cpu") for key, value in arguments.items()}
    leaves = {key: value for key, value in given.items() if isinstance(value, torch.Tensor) and value.requires_grad}

    def of_leaves(*tensors):
        return FUNCTIONS[name](**given | dict(zip(leaves, tensors, strict=True)))

    assert torch.autograd.gradcheck(of_leaves, tuple(leaves.values()), fast_mode=True)
