# `make demo` and `make test` do all set-up on a fresh machine: Python 3.11+, make and git are enough.
PYTHON ?= python3
DJANGO ?= 5.2
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
# Where servers cannot be had, tests that need them fail instead of being skipped. Empty: skip with the reason.
export DBOPT_TEST_REQUIRE ?= postgres,redis,neo4j

.PHONY: demo test coverage test-long fuzz test-bare lint format types layers check docs bench pins clean

$(VENV)/.ready: requirements/django-$(DJANGO).txt pyproject.toml
	sh scripts/make_venv.sh $(PYTHON) $(VENV) requirements/django-$(DJANGO).txt
	touch $@

demo: $(VENV)/.ready
	@$(BIN)/python manage.py demo $(ARGS)

test: $(VENV)/.ready
	$(BIN)/python -m pytest -n 2 -m "not long" $(ARGS)

# The same tests, watched line by line and branch by branch: takes half as long again.
coverage: $(VENV)/.ready
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term -m "not long" $(ARGS)

test-long: $(VENV)/.ready
	DBOPT_TEST_LONG=1 $(BIN)/python -m pytest -n 2 -m long $(ARGS)

# The tests with made-up examples, with new ones and fifty times as many: what they find becomes an @example.
fuzz: $(VENV)/.ready
	DBOPT_FUZZ=50 $(BIN)/python -m pytest -n 2 -m "not long" $(shell grep -rl hypothesis tests --include='test_*.py') $(ARGS)

test-bare:
	sh scripts/make_bare_venv.sh $(PYTHON) $(VENV)-bare requirements/django-$(DJANGO).txt
	PYTHONPATH=. $(VENV)-bare/bin/python -W error tests/packaging/bare_project.py

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/typos
	git ls-files '*.py' | xargs $(BIN)/django-upgrade --target-version 5.2

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.ready
	$(BIN)/mypy

layers: $(VENV)/.ready
	$(BIN)/lint-imports

# What an application's own pipeline runs on its project: here on the example.
check: $(VENV)/.ready
	$(BIN)/python manage.py dbopt_check

docs: $(VENV)/.ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir .site

$(VENV)/.peers: benchmarks/requirements.txt $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	touch $@

bench: $(VENV)/.peers
	$(BIN)/python -m benchmarks $(ARGS)

pins: $(VENV)/.ready
	sh scripts/pin_requirements.sh $(BIN)

clean:
	rm -rf $(VENV) $(VENV)-bare .site .services .coverage* .mypy_cache .ruff_cache .pytest_cache
