# Two commands do everything: make bench, make test. Nothing but Python 3.11+, gcc and make is needed.

VENV ?= .venv
PYTHON ?= python3
RUN = $(VENV)/bin/python -m
C = $(wildcard csrc/*.[ch] csrc/*/*.h tests/native/*.[ch])
SOURCES = pyproject.toml CMakeLists.txt tests/native/CMakeLists.txt $(C) $(wildcard csrc/*.def)

export PYTHONDONTWRITEBYTECODE =# or each of the tests' processes would compile all modules

.PHONY: build bench test lint clean

build: $(VENV)/built                ## the environment, with the C kernels compiled

$(VENV)/built: $(SOURCES)
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --no-compile --editable '.[dev]' # an import compiles what is used
	touch $@

bench: build                        ## roofs, kernels, ridge, picture, record
	$(RUN) pytest bench/ --benchmark-only

test: build                         ## every kernel against its float64 reference, and all the rest
	$(RUN) pytest tests --numprocesses logical --maxprocesses 4 --dist loadgroup

lint: build                         ## both formatters, the linter, the types
	$(RUN) ruff format --check .
	$(VENV)/bin/clang-format --dry-run --Werror $(C)
	$(RUN) ruff check .
	$(RUN) mypy kernels bench ridgeline

clean:
	rm -rf $(VENV) build kernels/_native*.so
