# Two commands: `make check` compares the notes' network with torch.nn on real data, `make test` runs the test suite.
# Both make a virtual environment in .venv first, once, from the exact versions in constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: check test lint clean

check: $(INSTALLED)
	$(BIN)/handgrad check

test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[data,notes,report,test]'
	touch $(INSTALLED)

clean:
	rm -rf $(VENV)
