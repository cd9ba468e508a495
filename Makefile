# make install | demo | test | test-slow | lint | docs, and of test-slow the parts test-faults |
# test-fuzz | test-cluster | test-container: nothing else is needed on a machine with Python and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := demo

# a process of ours per core is faster than threads that compete for it
export OMP_NUM_THREADS ?= 1

.PHONY: install demo test test-slow test-faults test-fuzz test-cluster test-container lint docs clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,dev]'
	touch $@

$(DEMO)/bids/dataset_description.json: | $(STAMP)
	$(BIN)/python -m shd_bids.testing.phantom $(DEMO)/bids --snr 15

demo: $(STAMP) $(DEMO)/bids/dataset_description.json
	$(BIN)/shd-bids $(DEMO)/bids $(DEMO)/out participant -w $(DEMO)/work \
		--shd-preset fast --fod-model shd-tv csd msmt-csd --n-streamlines 20000
	$(BIN)/python -m shd_bids.testing.score $(DEMO)/bids $(DEMO)/out --json $(DEMO)/score.json
	@echo "The report: $(abspath $(DEMO)/out/sub-01.html)"

test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses=2 -m "not slow" $(PYTEST_ARGS)

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

# small disks, Slurm and the image want root; the image installs Debian packages and takes 25 GB
test-faults test-fuzz test-cluster test-container: test-%: $(STAMP)
	$(BIN)/python -m pytest -m slow tests/$* $(PYTEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W -n --keep-going -q -b html docs docs/_build/html
	@echo "The pages: $(abspath docs/_build/html/index.html)"

$(VENV)/.docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

clean:
	rm -rf $(DEMO)
