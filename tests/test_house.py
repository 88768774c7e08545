"""The house's rules about its own code, each a function from a tree to complaints; every rule is shown to bite."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import attlas
from attlas.cli.app import app

ROOT = Path(__file__).resolve().parent.parent

FLOORS: list[set[str]] = [
    {"awaiting", "durations", "errors", "memory", "process", "telling", "settings", "spaces"},
    {"ops"},
    {"data"},
    {"models"},
    {"scoring", "strangers", "frozen", "growth", "guests", "refitting", "training"},
    {"recommender", "artefact", "answers", "reasons", "explanation", "counterfactual", "pairs", "updating", "catalogue"}
    | {"evaluation"},
    {"loading", "experiment", "starting", "trial", "final", "runner", "export"},
    {"search"},
    {"comparing", "auditing", "faithfulness", "demo", "page"},
    {"cli", "web", "__main__"},
]
FACADE_FLOOR = 9  # what `import attlas` offers comes from floor 8 at the highest
RECOMMENDER = {"recommender", "artefact", "answers", "reasons", "explanation", "counterfactual", "pairs", "updating"}
RECOMMENDER |= {"catalogue"}
SIDEWAYS = {(one, other) for one in RECOMMENDER for other in RECOMMENDER}
SIDEWAYS |= {(room, "errors") for room in FLOORS[0]}
STAGES = ("loading", "experiment", "starting", "trial", "final", "runner")  # each knows those before it
SIDEWAYS |= {(one, other) for place, one in enumerate(STAGES) for other in STAGES[:place]}
SIDEWAYS |= {("strangers", "scoring"), ("runner", "export"), ("__main__", "cli"), ("demo", "page")}
SIDEWAYS |= {(one, other) for one in ("strangers", "guests") for other in ("scoring", "frozen", "growth", "guests")}
SIDEWAYS |= {("comparing", "auditing"), ("comparing", "page"), ("cli", "web")}
SIDEWAYS |= {("refitting", other) for other in ("scoring", "strangers", "frozen")}

METRICS = re.compile(r"(hr|ndcg|recall|precision|map|mrr|auc)(@\d+)?")
MAY_DIFFERENTIATE = {"attlas/training/fit.py", "attlas/frozen.py"}
LONGEST_FILE, LONGEST_FUNCTION, SHORTEST_PAPER = 300, 40, 60
TARGET = re.compile(r"\b((?:[\w-]+/)+[\w-]+\.py)::(\w+(?:\.\w+)*)")
RESULT = re.compile(r"`(benchmarks/results/[\w./-]+)`")


def room_of(path: Path, root: Path) -> str:
    """The top-level module or package of attlas that a file belongs to; "" for attlas/__init__.py."""
    parts = path.relative_to(root / "attlas").with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def floor_of(room: str) -> int | None:
    """The floor of a room; None if it stands on none."""
    if room == "":
        return FACADE_FLOOR
    return next((floor for floor, rooms in enumerate(FLOORS) if room in rooms), None)


def files_of(root: Path, under: str = "attlas") -> list[Path]:
    """Every Python file below a folder of the tree, or the one file."""
    found = root / under
    return [found] if found.is_file() else sorted(found.rglob("*.py"))


def trees_of(root: Path, under: str = "attlas") -> Iterator[tuple[str, Path, ast.Module]]:
    """Name, path and syntax tree of every Python file below a folder."""
    for path in files_of(root, under):
        yield path.relative_to(root).as_posix(), path, ast.parse(path.read_text())


def imports_of(tree: ast.Module, path: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported anywhere in a file: the module, or what it is taken from."""
    package = list(path.relative_to(root).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inside = root / module.replace(".", "/") / alias.name
                is_module = inside.is_dir() or inside.with_suffix(".py").is_file()
                yield node.lineno, f"{module}.{alias.name}" if is_module else module


def models_of(root: Path) -> dict[str, list[str]]:
    """The classes of each paper's room by its stem: MODELS and ROOMS, read without importing them."""
    tables: dict[str, dict[str, str]] = {"ROOMS": {}}
    for node in ast.walk(ast.parse((root / "attlas/models/__init__.py").read_text())):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        for target in targets:
            if isinstance(target, ast.Name) and target.id in ("MODELS", "ROOMS"):
                tables[target.id] = dict(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    assert "MODELS" in tables, "attlas/models/__init__.py has no MODELS"
    rooms: dict[str, list[str]] = {}
    for name, chosen in tables["MODELS"].items():
        rooms.setdefault(tables["ROOMS"].get(name, name), []).append(chosen)
    return rooms


def docstrings_of(tree: ast.Module) -> set[int]:
    """The identities of the constants that are docstrings."""
    owners = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, owners) and node.body and isinstance(node.body[0], ast.Expr)
    }


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of an expression made of names and attributes; what comes before an unnamed thing is left out."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def imports_go_down(root: Path) -> list[str]:
    """Imports go down, or stay inside one room, or between the few rooms of one floor that belong together."""
    complaints = []
    for name, path, tree in trees_of(root):
        room = room_of(path, root)
        floor = floor_of(room)
        if room == "" or floor is None:
            continue
        for line, module in imports_of(tree, path, root):
            package, _, rest = module.partition(".")
            other = rest.split(".")[0]
            theirs = floor_of(other)
            if package != "attlas" or theirs is None or other == room or (room, other) in SIDEWAYS or theirs < floor:
                continue
            way = "sideways" if theirs == floor else "up"
            complaints.append(
                f"{name}:{line} imports {module}: {way}, from {room} on floor {floor} to {other or 'attlas'} on floor {theirs}"
            )
    return complaints


def every_module_has_a_room(root: Path) -> list[str]:
    """Every module stands on a floor."""
    return [
        f"{path.relative_to(root).as_posix()} stands on no floor; give {room_of(path, root)!r} one in FLOORS"
        for path in files_of(root)
        if floor_of(room_of(path, root)) is None
    ]


def papers_stay_apart(root: Path) -> list[str]:
    """Papers do not import one another."""
    papers = models_of(root)
    return [
        f"{name}:{line} imports {module}: papers do not import one another; what two share belongs to layers.py or ops"
        for name, path, tree in trees_of(root, "attlas/models")
        if path.stem in papers
        for line, module in imports_of(tree, path, root)
        if module.startswith("attlas.models.") and module.split(".")[2] in set(papers) - {path.stem}
    ]


def the_facade_holds_names_only(root: Path) -> list[str]:
    """attlas/__init__.py settles the process and holds the public names and the way to import them, nothing else."""
    complaints = []
    for node in ast.parse((root / "attlas/__init__.py").read_text()).body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_import = isinstance(node, ast.Import | ast.ImportFrom)
        is_typing = isinstance(node, ast.If) and dotted(node.test) == "TYPE_CHECKING"
        is_names = isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict | ast.List)
        is_lazy = isinstance(node, ast.FunctionDef) and node.name in ("__getattr__", "__dir__")
        is_start = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and dotted(node.value.func) == "settle"
        if not (is_docstring or is_import or is_typing or is_names or is_lazy or is_start):
            complaints.append(f"attlas/__init__.py:{node.lineno} is no public name; put it into a room")
    return complaints


def ops_know_tensors_only(root: Path) -> list[str]:
    """ops has no modules of ours, no data and no files."""
    complaints = []
    for name, path, tree in trees_of(root, "attlas/ops"):
        for line, module in imports_of(tree, path, root):
            if module.split(".")[0] in ("pathlib", "io", "os", "shutil", "tempfile", "polars", "pandas"):
                complaints.append(f"{name}:{line} imports {module}: ops opens no files and knows no data")
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and any(dotted(parent).split(".")[-1] == "Module" for parent in node.bases):
                complaints.append(f"{name}:{node.lineno} {node.name} is a module; ops holds functions on tensors")
            if isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] in ("open", "read_text", "read_bytes"):
                complaints.append(f"{name}:{node.lineno} opens a file")
    return complaints


def models_name_no_device_optimizer_or_metric(root: Path) -> list[str]:
    """models never names a device or a metric, nor an optimizer outside a solver of its own."""
    complaints = []
    for name, _, tree in trees_of(root, "attlas/models"):
        docstrings, solvers = docstrings_of(tree), inside_solvers(tree)
        for node in ast.walk(tree):
            line = getattr(node, "lineno", 0)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                if "cuda" in node.value:
                    complaints.append(f"{name}:{line} names a device, {node.value!r}: scoring, inputs and fit say where")
                if METRICS.fullmatch(node.value):
                    complaints.append(f"{name}:{line} names a metric, {node.value!r}: evaluation says what good means")
            if isinstance(node, ast.Attribute | ast.Name) and dotted(node).split(".")[-1] in ("ndcg", "mrr", "auc", "hit_rate"):
                complaints.append(f"{name}:{line} names a metric, {dotted(node)}")
            is_optimizer = isinstance(node, ast.Attribute) and re.match(r"(torch\.)?optim\.\w", dotted(node))
            if is_optimizer and id(node) not in solvers:
                complaints.append(f"{name}:{line} uses {dotted(node)} outside a solver")
    return complaints


def gradients_flow_in_one_place(root: Path) -> list[str]:
    """The optimisation step is in one place; beside it only a paper's own solver and the fit of a stranger differentiate."""
    complaints = []
    for name, _, tree in trees_of(root):
        if name in MAY_DIFFERENTIATE:
            continue
        solvers = inside_solvers(tree)
        for node in ast.walk(tree):
            called = dotted(node.func) if isinstance(node, ast.Call) else ""
            if id(node) not in solvers and (called.endswith(".backward") or re.search(r"\bautograd\.(grad|backward)$", called)):
                complaints.append(f"{name}:{node.lineno} calls {called.strip('.')}: only training/fit.py does")  # type: ignore[attr-defined]
    return complaints


def inside_solvers(tree: ast.Module) -> set[int]:
    """The identities of all nodes inside classes that have an ``epoch``: a paper's own ways to train."""
    return {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(isinstance(part, ast.FunctionDef) and part.name == "epoch" for part in node.body)
        for inner in ast.walk(node)
    }


def sizes_are_kept(root: Path) -> list[str]:
    """A file has at most 300 lines, scripts and styles too, a function 40, a paper at least 60."""
    complaints, papers = [], models_of(root)
    for path in sorted(path for path in (root / "attlas").rglob("*") if path.suffix in (".js", ".css")):
        if (lines := len(path.read_text().splitlines())) > LONGEST_FILE:
            complaints.append(f"{path.relative_to(root).as_posix()} has {lines} lines, more than {LONGEST_FILE}")
    for name, path, tree in trees_of(root):
        lines = len(path.read_text().splitlines())
        if lines > LONGEST_FILE:
            complaints.append(f"{name} has {lines} lines, more than {LONGEST_FILE}")
        # A paper says its year in its first line; a baseline such as popularity has no paper and may be shorter.
        is_paper = path.parent.name == "models" and path.stem in papers and re.search(r"\d{4}", ast.get_docstring(tree) or "")
        if is_paper and lines < SHORTEST_PAPER:
            complaints.append(f"{name} has {lines} lines, a paper at least {SHORTEST_PAPER}: what it is made of is elsewhere")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    complaints.append(f"{name}:{node.lineno} {node.name} has {lines} lines, more than {LONGEST_FUNCTION}")
    return complaints


def public_things_are_explained(root: Path) -> list[str]:
    """Every public module, class, function, method and property has a docstring."""
    complaints = []
    for name, path, tree in trees_of(root):
        if any(part.startswith("_") and part != "__init__.py" for part in path.relative_to(root).parts):
            continue
        if path.stem != "__init__" and not ast.get_docstring(tree):
            complaints.append(f"{name} has no docstring")
        complaints += [f"{name}:{node.lineno} {node.name} has no docstring" for node in unexplained(tree)]
    return complaints


def unexplained(owner: ast.Module | ast.ClassDef) -> Iterator[Any]:
    """Public definitions without a docstring, also inside public classes; an overload or setter explains itself elsewhere."""
    for node in owner.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        marks = {dotted(mark).split(".")[-1] for mark in node.decorator_list}
        if not ast.get_docstring(node) and not marks & {"overload", "setter"}:
            yield node
        if isinstance(node, ast.ClassDef):
            yield from unexplained(node)


def every_model_has_its_five_places(root: Path) -> list[str]:
    """File, line in MODELS, test, page and configuration share one stem."""
    complaints = []
    for stem, classes in models_of(root).items():
        places = [f"attlas/models/{stem}.py", f"tests/models/test_{stem}.py", f"docs/papers/{stem}.md"]
        complaints += [f"{stem} lacks {place}" for place in places if not (root / place).is_file()]
        if not list((root / "configs").glob(f"{stem}-*.toml")):
            complaints.append(f"{stem} lacks configs/{stem}-<data set>.toml")
        path = root / f"attlas/models/{stem}.py"
        missing = set(classes) - definitions_of(path) if path.is_file() else ()
        complaints += [f"attlas/models/{stem}.py has no class {chosen}" for chosen in sorted(missing)]
    return complaints


def definitions_of(path: Path) -> set[str]:
    """``name``, ``Class`` and ``Class.method`` of everything defined or assigned in a file."""

    def names(owner: ast.AST, before: str) -> Iterator[str]:
        for node in getattr(owner, "body", []):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield before + node.name
                if isinstance(node, ast.ClassDef):
                    yield from names(node, f"{before}{node.name}.")
            targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
            yield from (before + target.id for target in targets if isinstance(target, ast.Name))

    return set(names(ast.parse(path.read_text()), ""))


def pages_point_at_code_that_exists(root: Path) -> list[str]:
    """Every `file.py::name` on a page exists."""
    complaints = []
    for page in pages_of(root):
        for number, line in enumerate(page.read_text().splitlines(), start=1):
            for file, target in TARGET.findall(line):
                if not (root / file).is_file() or target not in definitions_of(root / file):
                    complaints.append(f"{page.relative_to(root)}:{number} points at {file}::{target}, which is not there")
    return complaints


def pages_point_at_results_that_exist(root: Path) -> list[str]:
    """Every file of results that a page names is there."""
    return [
        f"{page.relative_to(root)}:{number} points at {file}, which is not there"
        for page in pages_of(root)
        for number, line in enumerate(page.read_text().splitlines(), start=1)
        for file in RESULT.findall(line)
        if not (root / file).exists()
    ]


def nothing_runs_what_it_reads(root: Path) -> list[str]:
    """No pickle, no eval or exec, no torch.load: what is read from a disk is data and never code."""
    complaints = []
    for name, path, tree in trees_of(root):
        for line, module in imports_of(tree, path, root):
            if module.split(".")[0] in ("pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"):
                complaints.append(f"{name}:{line} imports {module}, which runs what it reads")
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = dotted(node.func)
            allows = any(word.arg == "allow_pickle" and getattr(word.value, "value", True) for word in node.keywords)
            if called in ("eval", "exec", "torch.load", "torch.save", "torch.hub.load") or allows:
                complaints.append(f"{name}:{node.lineno} calls {called}, which runs what it reads")
    return complaints


def what_sums_in_any_order_is_inlined(root: Path) -> list[str]:
    """A kernel that others call has two copies, and one that may reorder its sums has other last bits in each."""
    complaints = []
    for name, _, tree in trees_of(root, "attlas/ops/_numba"):
        called = {dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef) or not (node.name.startswith("_") or node.name in called):
                continue
            for mark in node.decorator_list:
                words = {word.arg: ast.unparse(word.value) for word in getattr(mark, "keywords", [])}
                is_free = words.get("fastmath", "False") not in ("False", "{'contract'}")  # contracting keeps the order
                if is_free and words.get("forceinline") != "True":
                    complaints.append(f"{name}:{node.lineno} {node.name} may reorder its sums and is called: forceinline it")
    return complaints


def pages_of(root: Path) -> list[Path]:
    """README.md and every page of docs."""
    return [page for page in [root / "README.md", *sorted((root / "docs").rglob("*.md"))] if page.is_file()]


CHECKS: list[Callable[[Path], list[str]]] = [
    imports_go_down,
    every_module_has_a_room,
    papers_stay_apart,
    the_facade_holds_names_only,
    ops_know_tensors_only,
    models_name_no_device_optimizer_or_metric,
    gradients_flow_in_one_place,
    sizes_are_kept,
    public_things_are_explained,
    every_model_has_its_five_places,
    pages_point_at_code_that_exists,
    pages_point_at_results_that_exist,
    nothing_runs_what_it_reads,
    what_sums_in_any_order_is_inlined,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_house_keeps_its_rule_that(check: Callable[[Path], list[str]]) -> None:
    complaints = check(ROOT)
    assert not complaints, f"{inspect.getdoc(check)}\n  " + "\n  ".join(complaints)


SOUND = {
    "attlas/__init__.py": '"""A package."""\n',
    "attlas/models/__init__.py": '"""Models."""\nMODELS = {"mean": "Mean"}\n',
    "attlas/models/mean.py": '"""Mean: the mean of all (Nobody 2020)."""\n' + "\n" * 60 + 'class Mean:\n    """It."""\n',
    "attlas/ops/sums.py": '"""Sums."""\nimport torch\n',
    "tests/models/test_mean.py": "",
    "docs/papers/mean.md": "Its class is `attlas/models/mean.py::Mean`.\n",
    "configs/mean-club.toml": "",
}
BREACHES = {
    "an import that goes up": (imports_go_down, "attlas/data/rows.py", "from attlas.runner import fit", "up, from data on"),
    "an import that goes up inside a function": (imports_go_down, "attlas/ops/sums.py", "def f():\n  import attlas.data", "up"),
    "an import that goes up for types only": (
        imports_go_down,
        "attlas/models/mean.py",
        "if TYPE_CHECKING:\n  from attlas.training.fit import Solver",
        "from models on floor 3 to training on floor 4",
    ),
    "a relative import that goes up": (imports_go_down, "attlas/data/rows.py", "from ..scoring import Scorer", "to scoring"),
    "an import of the facade": (imports_go_down, "attlas/scoring.py", "import attlas", "to attlas on floor 9"),
    "an import that goes sideways": (imports_go_down, "attlas/scoring.py", "import attlas.training.fit", "sideways"),
    "evaluation asking the recommender": (
        imports_go_down,
        "attlas/evaluation/report.py",
        "from attlas.recommender import load",
        "sideways, from evaluation on floor 5 to recommender",
    ),
    "the recommender asking evaluation": (
        imports_go_down,
        "attlas/recommender.py",
        "from attlas.evaluation.report import Report",
        "sideways",
    ),
    "a module without a room": (every_module_has_a_room, "attlas/utils.py", "", "attlas/utils.py stands on no floor"),
    "a paper that imports another": (
        papers_stay_apart,
        "attlas/models/__init__.py",
        'MODELS = {"mean": "Mean", "ops": "O"}',
        "papers do not",
    ),
    "a deed in the facade": (the_facade_holds_names_only, "attlas/__init__.py", "def fit(): ...", "is no public name"),
    "a module in ops": (ops_know_tensors_only, "attlas/ops/sums.py", "class Sum(nn.Module): ...", "Sum is a module"),
    "a file in ops": (ops_know_tensors_only, "attlas/ops/sums.py", "def f(p):\n  return open(p)", "opens a file"),
    "a path in ops": (ops_know_tensors_only, "attlas/ops/sums.py", "from pathlib import Path", "opens no files"),
    "a device in a model": (models_name_no_device_optimizer_or_metric, "attlas/models/mean.py", 'd = "cuda:0"', "a device"),
    "a metric in a model": (models_name_no_device_optimizer_or_metric, "attlas/models/mean.py", 'm = "ndcg@10"', "a metric"),
    "an optimizer in a model": (
        models_name_no_device_optimizer_or_metric,
        "attlas/models/mean.py",
        "o = torch.optim.Adam([])",
        "outside a solver",
    ),
    "a second backward": (gradients_flow_in_one_place, "attlas/models/mean.py", "def f(x): x.sum().backward()", "backward"),
    "a second gradient": (gradients_flow_in_one_place, "attlas/scoring.py", "g = torch.autograd.grad(a, b)", "autograd.grad"),
    "a long file": (sizes_are_kept, "attlas/scoring.py", "\n" * 301, "has 301 lines"),
    "a long script": (sizes_are_kept, "attlas/web/page/main.js", "\n" * 301, "main.js has 301 lines"),
    "a long function": (sizes_are_kept, "attlas/scoring.py", "def f():\n" + "    a = 1\n" * 40, "f has 41 lines"),
    "a thin paper": (sizes_are_kept, "attlas/models/mean.py", '"""Mean (2020)."""\nclass Mean: ...', "a paper at least 60"),
    "a silent function": (public_things_are_explained, "attlas/scoring.py", '"""S."""\ndef f(): ...', "f has no docstring"),
    "a silent forward": (
        public_things_are_explained,
        "attlas/models/mean.py",
        '"""M."""\nclass Mean:\n  """M."""\n  def forward(self): ...',
        "forward has no docstring",
    ),
    "a silent property": (
        public_things_are_explained,
        "attlas/scoring.py",
        '"""S."""\nclass S:\n  """S."""\n  @property\n  def width(self): ...',
        "width has no docstring",
    ),
    "a silent module": (public_things_are_explained, "attlas/scoring.py", "A = 1", "attlas/scoring.py has no docstring"),
    "a model without its places": (
        every_model_has_its_five_places,
        "attlas/models/__init__.py",
        'MODELS = {"mode": "Mode"}',
        "mode lacks docs/papers/mode.md",
    ),
    "a model without its class": (every_model_has_its_five_places, "attlas/models/mean.py", "class Mode: ...", "no class Mean"),
    "a page that points nowhere": (
        pages_point_at_code_that_exists,
        "docs/papers/mean.md",
        "first\nsee `attlas/models/mean.py::Mean.forward`",
        "docs/papers/mean.md:2 points at attlas/models/mean.py::Mean.forward",
    ),
    "results that are not there": (
        pages_point_at_results_that_exist,
        "docs/papers/mean.md",
        "first\nin `benchmarks/results/mean.jsonl`",
        "docs/papers/mean.md:2 points at benchmarks/results/mean.jsonl",
    ),
    "pickle": (nothing_runs_what_it_reads, "attlas/scoring.py", "def f():\n  import pickle", "imports pickle"),
    "eval": (nothing_runs_what_it_reads, "attlas/scoring.py", "a = eval('1')", "calls eval"),
    "torch.load": (nothing_runs_what_it_reads, "attlas/scoring.py", "a = torch.load('w.pt')", "calls torch.load"),
    "pickled arrays": (nothing_runs_what_it_reads, "attlas/scoring.py", "np.load(p, allow_pickle=True)", "calls np.load"),
    "a kernel with two copies": (
        what_sums_in_any_order_is_inlined,
        "attlas/ops/_numba/sums.py",
        "@njit(cache=True, fastmath=True)\ndef _sum(a): ...",
        "_sum may reorder its sums",
    ),
    "a public kernel with two copies": (
        what_sums_in_any_order_is_inlined,
        "attlas/ops/_numba/sums.py",
        "@njit(fastmath={'reassoc'})\ndef total(a): ...\n@njit\ndef mean(a): return total(a) / len(a)",
        "total may reorder its sums",
    ),
}


def plant(root: Path, files: dict[str, str]) -> Path:
    """A small tree of files."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_sound_small_package_gives_no_complaint_to(check: Callable[[Path], list[str]], tmp_path: Path) -> None:
    assert check(plant(tmp_path, SOUND)) == []


@pytest.mark.parametrize("breach", BREACHES)
def test_the_rules_report(breach: str, tmp_path: Path) -> None:
    check, file, text, complaint = BREACHES[breach]
    root = plant(tmp_path, SOUND)
    if breach == "a paper that imports another":
        plant(root, {"attlas/models/ops.py": "from attlas.models.mean import Mean"})
    found = check(plant(root, {file: text + "\n" if text.strip() else text}))
    assert [line for line in found if complaint in line], f"{complaint!r} is not among {found}"


def test_a_solver_of_a_paper_may_use_an_optimizer_and_differentiate(tmp_path: Path) -> None:
    solver = "class Adam:\n  def epoch(self, model):\n    torch.optim.Adam([]).step()\n    model().backward()\n"
    root = plant(tmp_path, {**SOUND, "attlas/models/mean.py": f'"""Mean."""\nclass Mean:\n  """It."""\n{solver}'})
    assert models_name_no_device_optimizer_or_metric(root) + gradients_flow_in_one_place(root) == []


@pytest.mark.parametrize("name", attlas.__all__)
def test_every_public_name_imports_and_explains_itself(name: str) -> None:
    assert inspect.getdoc(getattr(attlas, name))


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'pickle'"):
        attlas.pickle  # noqa: B018


def test_the_type_checker_and_the_lazy_table_know_the_same_public_names() -> None:
    tree = ast.parse((ROOT / "attlas/__init__.py").read_text())
    typed = {
        alias.asname: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == attlas._PLACES


@pytest.mark.parametrize(
    "line", ["import attlas", "import sys; sys.argv = ['attlas', '--help']; import attlas.cli; attlas.cli.main()"]
)
def test_torch_is_not_imported_by(line: str) -> None:
    code = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {line}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "False", done.stdout + done.stderr


def test_help_answers_in_under_half_a_second() -> None:
    """By the clock; beside tests that other processes run, by what it takes of a core."""
    is_alone = "PYTEST_XDIST_WORKER" not in os.environ

    def seconds() -> float:
        began, used = time.perf_counter(), os.times()
        subprocess.run([sys.executable, "-m", "attlas", "--help"], capture_output=True, check=True, timeout=60)
        took, by_now = time.perf_counter() - began, os.times()
        of_core = by_now.children_user + by_now.children_system - used.children_user - used.children_system
        return took if is_alone else of_core

    assert min(seconds() for _ in range(5)) < 0.5


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "attlas/py.typed").read_text() == ""


FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\n]*)\n(?P<body>.*?)^(?P=indent)```\s*$", re.MULTILINE | re.DOTALL)


def blocks_of(page: Path) -> Iterator[tuple[int, str, str]]:
    """Line, language with its marks, and text of each fenced block of a page."""
    text = page.read_text()
    for match in FENCE.finditer(text):
        yield text[: match.start("body")].count("\n") + 1, match["language"].strip(), inspect.cleandoc("\n" + match["body"])


def commands_of(language: str, body: str) -> Iterator[list[str]]:
    """The words of every ``attlas`` command in a block of the shell or of a console."""
    mark = {"console": "$ ", "sh": "", "bash": "", "shell": ""}.get(language.split(" ")[0])
    if mark is None:
        return
    for line in re.sub(r"\\\n\s*", " ", body).splitlines():
        line = line.strip()
        if line.startswith(f"{mark}attlas"):
            words = shlex.split(line.removeprefix(mark), comments=True)
            ends = [place for place, word in enumerate(words) if word in ("|", ">", ">>", "2>", "&&", ";", "||")]
            yield words[1 : min(ends, default=None)]


def run_python_blocks(page: Path) -> None:
    """Run the Python blocks of a page one after another, with one set of names."""
    module = sys.modules["page"] = types.ModuleType("page")  # dataclasses look their module up
    try:
        for line, language, body in blocks_of(page):
            if language == "python":
                exec(compile("\n" * (line - 1) + body, str(page), "exec"), vars(module))
    finally:
        del sys.modules["page"]


MISUSE = typer.BadParameter.__bases__[0]  # what typer, or the click beside it, raises for words that do not parse


def refuse_unknown_options(words: list[str]) -> None:
    """Parse a command as the command line would, without doing it."""
    group: Any = typer.main.get_command(app)
    if words and words[0] not in ("--help", "-h"):
        context = group.make_context("attlas", list(words), resilient_parsing=False)
        name, chosen, rest = group.resolve_command(context, list(words))
        while not {"--help", "-h"} & set(rest):
            context = chosen.make_context(name, list(rest), parent=context)
            if not hasattr(chosen, "resolve_command"):
                break
            name, chosen, rest = chosen.resolve_command(context, rest)


def test_the_pages_have_python_and_commands_to_try():
    blocks = {page: list(blocks_of(ROOT / page)) for page in ("README.md", "docs/tutorial.md")}
    python = {page: sum(language == "python" for _, language, _ in found) for page, found in blocks.items()}
    commands = {
        page: sum(len(list(commands_of(language, body))) for _, language, body in found) for page, found in blocks.items()
    }
    assert python["README.md"] >= 2
    assert python["docs/tutorial.md"] >= 10
    assert min(commands.values()) >= 5


@pytest.mark.parametrize("page", [page.relative_to(ROOT).as_posix() for page in pages_of(ROOT)])
def test_the_python_runs_on_the_page(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_python_blocks(ROOT / page)


def test_the_readme_names_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    readme = (ROOT / "README.md").read_text()
    assert [name for name in extras if name != "dev" and f"`{name}`" not in readme] == []


def test_the_readme_leads_to_every_how_to_and_names_every_model() -> None:
    from attlas.models import MODELS  # with torch, which most checks here do without

    readme = (ROOT / "README.md").read_text()
    pages = [page.relative_to(ROOT).as_posix() for kind in ("how-to", "papers") for page in (ROOT / "docs" / kind).glob("*.md")]
    assert [page for page in pages if readme.count(f"({page})") < 1 + page.startswith("docs/papers")] == []
    assert [name for name in MODELS if f"`{name}`" not in readme] == []


def test_no_run_of_the_readme_is_measured_after_it_was_updated_in_its_place() -> None:
    stale: set[str] = set()
    for _, language, body in blocks_of(ROOT / "README.md"):
        for name, *words in commands_of(language, body):
            if name == "update" and "--out" not in words:
                stale.add(words[0])
            assert not (name in ("evaluate", "audit") and words[0] in stale), f"attlas {shlex.join([name, *words])}"


@pytest.mark.parametrize("page", [page.relative_to(ROOT).as_posix() for page in pages_of(ROOT)])
def test_the_commands_parse_on_the_page(page: str) -> None:
    for line, language, body in blocks_of(ROOT / page):
        for words in commands_of(language, body):
            try:
                refuse_unknown_options(words)
            except (MISUSE, ValueError) as error:
                pytest.fail(f"{page}:{line} attlas {shlex.join(words)}: {error!r}")


def test_the_tables_on_the_pages_are_understood(tmp_path: Path) -> None:
    """Those of a comparison, of an experiment and of data sets to fetch; nothing that they name has to be there."""
    from attlas.comparing.cell import draws
    from attlas.comparing.plan import Plan
    from attlas.data.datasets import known_datasets
    from attlas.experiment import Experiment

    seen, registry = set(), tmp_path / "sets.toml"
    for body in (body for page in pages_of(ROOT) for _, language, body in blocks_of(page) if language == "toml"):
        tables = tomllib.loads(body)
        if {"compare", "contenders"} & set(tables):
            what, experiments = "a comparison", [one.experiment for one in Plan.of(tables).entrants(has_candidates=False)]
        elif {"model", "data"} & set(tables):
            what, experiments = "an experiment", [Experiment.of(tables)]
        else:
            registry.write_text(body)
            what, experiments = "data sets", []
            assert known_datasets(registry)
        for experiment in experiments:
            draws(experiment)  # makes the model and its solver, which know their settings
        seen.add(what)
    assert seen == {"a comparison", "an experiment", "data sets"}


PAGE = """# A page

```python
a = 1
```

```python no-run
a = 1 / 0
```

- in a list

  ```python
  open("made.txt", "w").close()
  b = a + {addend}
  ```

```console
$ attlas fit --data ratings.csv \\
    --model {model} {option}
some answer: attlas fit --nonsense
```
"""


def test_python_blocks_of_a_page_share_their_names_and_skip_what_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_python_blocks(plant(tmp_path, {"page.md": PAGE.format(addend="1", model="ease", option="")}) / "page.md")
    assert (tmp_path / "made.txt").is_file()


def test_a_broken_python_block_of_a_page_is_reported_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = plant(tmp_path, {"page.md": PAGE.format(addend="missing", model="ease", option="")}) / "page.md"
    with pytest.raises(NameError) as found:
        run_python_blocks(page)
    assert page.read_text().splitlines()[found.traceback[-1].lineno].strip() == "b = a + missing"  # lineno counts from 0


def test_commands_of_a_page_are_found_whole_and_answers_are_left_alone(tmp_path: Path) -> None:
    page = plant(tmp_path, {"page.md": PAGE.format(addend="1", model="ease", option="| head")}) / "page.md"
    found = [words for _, language, body in blocks_of(page) for words in commands_of(language, body)]
    assert found == [["fit", "--data", "ratings.csv", "--model", "ease"]]


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "--moddel", "ease"],
        ["fitt"],
        ["recommend"],
        ["models", "--json", "--nonsense"],
        ["data", "fetch", "x", "--nonsense"],
    ],
)
def test_a_command_that_would_not_parse_is_refused(words: list[str]) -> None:
    with pytest.raises(MISUSE):
        refuse_unknown_options(words)
