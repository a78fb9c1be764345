# demo: see it work, from nothing, without the training stack.   test, check: what CI runs.   venv: everything.
PYTHON ?= python3
DEMO_VENV := .venv-demo
VENV := .venv
EVERYTHING := all,dev

.DEFAULT_GOAL := help
.PHONY: help demo venv lock web figures test check clean

help:
	@echo "make demo    light environment (no torch), then the bundled style on the bundled scene: under 3 minutes"
	@echo "make venv    the environment with everything, in $(VENV)"
	@echo "make lock    requirements/: what both environments are made from, by version and hash"
	@echo "make web     the page of \`steadystyle demo web\`, by Node, into demo/web/dist"
	@echo "make figures README's table, the model cards and docs/results.md, from results/"
	@echo "make test    all tests"
	@echo "make check   ruff and mypy"
	@echo "make clean   remove both environments, caches and build leftovers (not your runs, exports or reports)"

demo: $(DEMO_VENV)/.stamp
	$(DEMO_VENV)/bin/steadystyle demo

venv: $(VENV)/.stamp

lock:
	PYTHON=$(PYTHON) .ci/lock

# Node 18 or later. No package's install script is run: none is needed.
web:
	@command -v npm > /dev/null || { echo "make web needs Node 18 or later with npm: apt-get install nodejs npm"; exit 1; }
	cd demo/web/page && npm ci --ignore-scripts && npm run build

figures: venv
	$(VENV)/bin/python -m studies.figures

test: venv
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile

# The repository root is the package, and mypy finds packages by folder name only: it looks through a link.
check: venv
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	MYPYPATH=$(VENV)/link $(VENV)/bin/mypy -p steadystyle

# The locks hold for Linux, x86-64 and Python 3.11. They have every dependency, so pip follows none, and what builds the
# package, so pip fetches no builder.
LOCK_FITS = $(PYTHON) -c 'import sys, platform as p; \
	sys.exit((sys.platform, p.machine(), *sys.version_info[:2]) != ("linux", "x86_64", 3, 11))'

# $(call install,ENVIRONMENT,LOCK,EXTRAS)
define install
	@if $(LOCK_FITS); then set -x; \
		$(1)/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements/$(2).txt && \
		$(1)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .; \
	else \
		echo "requirements/ fits Linux on x86-64 with Python 3.11: here pip chooses versions, without hashes" >&2; \
		set -x; $(1)/bin/python -m pip install --quiet --editable ".[$(3)]"; \
	fi
endef

$(DEMO_VENV)/.stamp: pyproject.toml requirements/demo.txt
	$(PYTHON) -m venv $(DEMO_VENV)
	$(call install,$(DEMO_VENV),demo,onnx)
	$(DEMO_VENV)/bin/python -m pip check
	touch $@

# torch first and alone: asked for by its exact version, an index that has a CPU build of it gives that build. A CUDA
# build lacks NVIDIA's libraries after that, and gets them by its own exact versions.
$(VENV)/.stamp: pyproject.toml requirements/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --no-deps torch==2.13.0
	$(call install,$(VENV),dev,$(EVERYTHING))
	$(VENV)/bin/python -m pip install --quiet torch==2.13.0
	$(VENV)/bin/python -m pip check
	mkdir -p $(VENV)/link
	ln -sfn "$(CURDIR)" $(VENV)/link/steadystyle
	touch $@

clean:
	rm -rf demo/web/dist demo/web/page/node_modules
	rm -rf $(VENV) $(DEMO_VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
