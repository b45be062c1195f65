# The two commands of the README, and the developers' own. PYTHON picks the interpreter for the environment.
PYTHON ?= python3
BIN := .venv/bin
# One more than cores, since some tests wait for processes that they kill.
WORKERS = $(shell $(PYTHON) -c 'import os; print(min(4, 1 + os.cpu_count()))')

.PHONY: demo test test-slow bench size lint format clean

demo: .venv/installed        ## train the quickstart and print its comparison
	$(BIN)/bnexp run configs/quickstart.yaml

# The tests start hundreds of processes: that these find what was compiled before saves a tenth of the time.
test test-slow: export PYTHONDONTWRITEBYTECODE =
# Threads of tests that run side by side only wait for each other: tests of training took 1.2 to 1.6 times as long with two.
test test-slow: export OMP_NUM_THREADS = 1

test: .venv/installed        ## run the tests; BNEXP_DATA names a folder with MNIST for the tests that need it
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

test-slow: .venv/installed   ## the longest of the tests, which `make test` leaves out
	$(BIN)/pytest -m slow --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

bench: .venv/installed       ## time bnexp beside other programs, on MNIST in BNEXP_DATA; over half an hour on two cores
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks

size:                        ## modules and lines of the package and its tests
	$(PYTHON) -m benchmarks.size

lint: .venv/installed        ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
