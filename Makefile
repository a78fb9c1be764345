# demo: see it work, from nothing, without the training stack.   test, check: what CI runs.   venv: everything.
PYTHON ?= python3
DEMO_VENV := .venv-demo
VENV := .venv

.DEFAULT_GOAL := help
.PHONY: help demo venv web figures test check clean

help:
	@echo "make demo    light environment (no torch), then the bundled style on the bundled scene: under 3 minutes"
	@echo "make venv    the environment with everything, in $(VENV)"
	@echo "make web     the page of \`steadystyle demo web\`, by Node, into demo/web/dist"
	@echo "make figures README's table, the model cards and docs/results.md, from results/"
	@echo "make test    all tests"
	@echo "make check   ruff and mypy"
	@echo "make clean   remove both environments, caches and build leftovers (not your runs, exports or reports)"

demo: $(DEMO_VENV)/.stamp
	$(DEMO_VENV)/bin/steadystyle demo

venv: $(VENV)/.stamp

# Node 18 or later. No package's install script is run: none is needed.
web:
	@command -v npm > /dev/null || { echo "make web needs Node 18 or later with npm: apt-get install nodejs npm"; exit 1; }
	cd demo/web/page && npm ci --ignore-scripts && npm run build

figures: venv
	$(VENV)/bin/python -m studies.figures

test: venv
	$(VENV)/bin/python -m pytest

# The repository root is the package, and mypy finds packages by folder name only: it looks through a link.
check: venv
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	MYPYPATH=$(VENV)/link $(VENV)/bin/mypy -p steadystyle

$(DEMO_VENV)/.stamp: pyproject.toml
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python -m pip install --quiet --editable ".[onnx]"
	touch $@

# torch first and alone: asked for by its exact version, an index that has a CPU build of it gives that build.
$(VENV)/.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet torch==2.13.0
	$(VENV)/bin/python -m pip install --quiet --editable ".[all,dev]"
	mkdir -p $(VENV)/link
	ln -sfn "$(CURDIR)" $(VENV)/link/steadystyle
	touch $@

clean:
	rm -rf demo/web/dist demo/web/page/node_modules
	rm -rf $(VENV) $(DEMO_VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
