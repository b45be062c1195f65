# The two commands of the README, and the developers' own. PYTHON picks the interpreter for the environment.
PYTHON ?= python3
BIN := .venv/bin
# One more than cores, since some tests wait for processes that they kill.
WORKERS = $(shell $(PYTHON) -c 'import os; print(min(4, 1 + os.cpu_count()))')

.PHONY: demo test test-slow bench gpu gpu-documents gpu-folder size lint generated format clean

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

# For a machine that has a GPU and no network: $(GPU)/wheels with the packages that it lacks, $(GPU)/data with data sets.
GPU ?= .gpu
GPU_WHEELS = pydantic pydantic_core annotated-types typing-inspection typing-extensions beartype plotly
GPU_PLATFORMS = manylinux2014_x86_64 manylinux_2_17_x86_64 manylinux_2_28_x86_64

gpu: $(if $(wildcard $(GPU)/wheels),$(GPU)/site) ## test and measure on a GPU; PARTS="doctor sweep" runs some parts, RESULTS=FOLDER says where to
	PYTHONPATH=$(CURDIR):$(abspath $(GPU)/site) $(if $(wildcard $(GPU)/data),BNEXP_DATA=$(abspath $(GPU)/data)) \
	    $(PYTHON) -m benchmarks.gpu $(PARTS) $(addprefix --results ,$(RESULTS))

gpu-documents:               ## write what is in benchmarks/gpu/results, or in RESULTS, into the documents
	PYTHONPATH=$(CURDIR):$(abspath $(GPU)/site) $(PYTHON) -m benchmarks.gpu.documents $(RESULTS)

gpu-folder:                  ## fill the folder on a machine that has a network, and MNIST in BNEXP_DATA
	$(PYTHON) -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --python-version 3.12 \
	    $(addprefix --platform ,$(GPU_PLATFORMS)) --constraint constraints.txt --dest $(GPU)/wheels $(GPU_WHEELS)
	mkdir -p $(GPU)/data/MNIST/raw
	for file in $(BNEXP_DATA)/MNIST/raw/*-ubyte; do gzip -c "$$file" > "$(GPU)/data/MNIST/raw/$${file##*/}.gz"; done

$(GPU)/site: $(wildcard $(GPU)/wheels/*.whl)
	$(PYTHON) -m pip install --quiet --no-index --no-deps --upgrade --target $@ $^
	find $(GPU) -name '*-ubyte.gz' -exec $(PYTHON) -m gzip -d {} +
	touch $@

size:                        ## modules and lines of the package and its tests
	$(PYTHON) -m benchmarks.size

lint: .venv/installed        ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

generated: .venv/installed   ## write what is made from the settings: their page, that of --json, and the schemas of configuration files
	$(BIN)/bnexp settings --markdown > docs/settings.md
	$(BIN)/bnexp schema --markdown > docs/json.md
	$(BIN)/bnexp schema > configs/schema.json
	$(BIN)/bnexp schema claim > configs/claims/schema.json
	$(BIN)/bnexp schema paper > configs/papers/schema.json

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
