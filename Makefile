# `make demo` and `make test` first create the environment (.venv).
SHELL := /bin/sh
# openmmlab, or onedl for the maintained forks in .venv-onedl.
STACK := openmmlab
VENV := .venv$(if $(filter-out openmmlab,$(STACK)),-$(STACK))
BIN := $(VENV)/bin
# Container images often set this. Each process would compile the libraries
# again, which takes 10 s.
export PYTHONDONTWRITEBYTECODE :=
# The first that requirements/python.txt allows; CI has the first.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python3.14 \
    python3.10 python; do $$p tools/setup_env.py --check-python \
    >/dev/null 2>&1 && { echo $$p; break; }; done)
demo: DEMO := work_dirs/demo
demo: CONFIG := retinanet_lowformer_b0_shapes
# In bfloat16 with channels-last weights, where the CPU has instructions.
demo: AMP := --amp auto
demo-seg: DEMO := work_dirs/demo-seg
demo-seg: CONFIG := fpn_lowformer_b0_shapes
demo-cls: DEMO := work_dirs/demo-cls
demo-cls: CONFIG := lowformer_b0_shapes
demo-track: DEMO := work_dirs/demo-track
demo-track: CONFIG := track_lowformer_tiny_shapes

SETUP_ENV := $(PYTHON) tools/setup_env.py --stack $(STACK) --venv $(VENV)
# Two processes of one thread each; a free one takes tests from the other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal
# With LiteRT's converter, which needs older packages than other tests.
PYTEST_TFLITE := $(subst $(BIN),$(VENV)-tflite/bin,$(PYTEST))
# Fails where requirements/export.txt says that this converter has no wheels.
HAS_TFLITE := $(BIN)/python -c 'from mmlowformer.utils.imports import \
    without_wheel; exit(bool(without_wheel("litert-torch")))'
# With Ray, which the package does not need.
PYTEST_RAY := $(subst $(BIN),$(VENV)-ray/bin,$(PYTEST))
# Runtimes bring their own threads and OpenMP. Tests of them run in processes of
# their own, because a worker crashed after other tests in the same process.
EXPORTS := tests/export tests/runtime tests/tools/test_export.py \
    tests/study/test_layer_profile.py
# Tests that are most sensitive to edits of the network and of weights.
QUICK := tests/models tests/checkpoint/test_key_formats.py \
    tests/datasets tests/engine tests/utils tests/config tests/analysis
QUICK_ONLY := not slow and not b15 and not b2 and not b3 and not e2 and not e3

.PHONY: help setup setup-tests demo demo-seg demo-cls demo-track test test-quick test-slow lint docs

help:
	@echo 'make demo      train and test a detector on generated images, on the'
	@echo '               CPU'
	@echo 'make demo-seg  the same for segmentation'
	@echo 'make demo-cls  the same for classification'
	@echo 'make demo-track  train a tracker, and test it on unseen videos'
	@echo 'make test      run the tests, with a table of what they cover'
	@echo '               (test-quick: a minute of them; test-slow: the rest)'
	@echo 'make lint      run ruff, and mypy for types'
	@echo 'make docs      build the site of the docs, in build/docs'
	@echo 'make setup     create .venv (done by all of the above); make'
	@echo '               setup-tests also installs what exports, trackers'
	@echo '               of many objects and the tests need'
	@echo '               STACK=onedl, with any of these: with the maintained'
	@echo '               forks of OpenMMLab, in .venv-onedl'

setup setup-tests:
	@test -n "$(PYTHON)" || { printf '%s\n' \
	    "setup: $$(tail -n 1 requirements/python.txt) is needed, and none was found." \
	    '  Debian/Ubuntu: sudo apt-get install python3 python3-venv python3-dev' \
	    '  conda:         conda create -n mmlowformer python=3.11' \
	    '  elsewhere:     make setup PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(SETUP_ENV) $(if $(filter setup-tests,$@),--with-tests)

demo demo-seg demo-cls: DATA := data/shapes --train 1600 --size 128
demo-track: DATA := data/shape_videos --videos
demo demo-seg demo-cls demo-track: setup
	$(BIN)/python tools/make_shapes.py $(DATA)
	@if [ -d $(DEMO) ]; then rm -rf $(DEMO)-previous; \
	    mv $(DEMO) $(DEMO)-previous; \
	    echo 'The previous demo is in $(DEMO)-previous.'; fi
	$(BIN)/python tools/train.py configs/$(CONFIG).py \
	    --work-dir $(DEMO) --seed 0 $(AMP)
	$(BIN)/python tools/test.py configs/$(CONFIG).py \
	    "$$(cat $(DEMO)/last_checkpoint)" --work-dir $(DEMO)/test \
	    --out $(DEMO)/metrics.json --show-dir $(DEMO)/pictures

test: setup-tests
	$(PYTEST) $(EXPORTS) -m 'not slow' --cov=mmlowformer --cov-report= \
	    --cov-fail-under=0
	$(PYTEST) $(EXPORTS:%=--ignore=%) -m 'not slow' --cov=mmlowformer \
	    --cov-append --cov-report=term:skip-covered

test-quick: setup-tests
	$(PYTEST) $(QUICK) -k '$(QUICK_ONLY)'

test-slow: setup-tests
	@if $(HAS_TFLITE); then $(SETUP_ENV) --with-tests --extra tflite && \
	    $(PYTEST_TFLITE) $(EXPORTS) -m slow -k tflite; \
	else echo "-- LiteRT's converter has no wheels for this Python: not tested"; fi
	@$(SETUP_ENV) --extra ray
	$(PYTEST_RAY) tests/predict/test_ray.py -m slow
	$(PYTEST) $(EXPORTS) -m slow -k 'not tflite'
	$(PYTEST) $(EXPORTS:%=--ignore=%) --ignore=tests/predict/test_ray.py -m slow

lint: setup-tests
	$(BIN)/ruff check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

docs: setup-tests
	$(BIN)/python -m pip install -q --disable-pip-version-check \
	    -r requirements/docs.txt
	$(BIN)/python -m sphinx -W --keep-going -q docs build/docs
	@echo 'build/docs/index.html'
