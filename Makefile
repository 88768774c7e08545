# Everything runs inside .venv, which the first target makes and later ones find ready.

# TORCH_FROM names another index for torch alone; CPU-only builds for Linux: see the README.

PYTHON ?= python3
TORCH_FROM ?=
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test check lint results wheel kernels clean
demo: $(READY) ## train three models on a simulated film club and write demo/report.html
	$(BIN)/attlas demo --out demo

test: $(READY) ## all tests
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

lint: $(READY) ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint ## lint, format, types and floors
	$(BIN)/python -m pytest tests/test_house.py -k 'not runs_on_the_page'

results: $(READY) ## measure what has changed, all or ONLY="SET SET/MODEL", and write docs/results.md
	$(BIN)/python benchmarks/quality.py $(ONLY)

wheel: $(READY) ## a built wheel works in a fresh environment
	$(BIN)/python -m pytest tests/test_wheel.py --wheel

kernels: ## forget the compiled kernels
	find attlas -name '*.nb[ic]' -delete

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(if $(TORCH_FROM),--extra-index-url $(TORCH_FROM)) torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean: ## remove what the other targets made
	rm -rf .venv build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
