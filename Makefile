# Two commands: `make check` compares the notes' network with torch.nn on real data, `make test` runs the test suite.
# Both make a virtual environment in .venv first, once, from the exact versions in constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: check test lint site dist clean

check: $(INSTALLED)
	$(BIN)/handgrad check

test: export OMP_NUM_THREADS := 1 # a worker of pytest has a core, and what it shares between tests stays with it
test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	.ci/types

site: $(INSTALLED) # the documents as pages in build/html; a link that leads nowhere ends it
	rm -rf build/docs build/html
	mkdir -p build/docs
	cp -R README.md CONTRIBUTING.md CHANGELOG.md LICENSE docs build/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

dist: $(INSTALLED) # of what is committed, in a clean folder: what lies beside it, or was built before, cannot slip in
	rm -rf dist build/clean
	mkdir -p build/clean
	git archive HEAD | tar -x -C build/clean
	$(BIN)/python -m build --no-isolation --outdir dist build/clean

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[data,notes,report,grading]' --group test --group site
	touch $(INSTALLED)

clean:
	rm -rf $(VENV) build dist *.egg-info
