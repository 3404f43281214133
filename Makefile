# The two commands: `make demo` shows the main job on the example project, `make test` passes the tests.
# Both set up a virtual environment of their own; nothing but Python 3.11+ is needed.
PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
BIN := $(VENV)/bin

.PHONY: help demo test year torture check format messages screenshots clean

help:
	@echo "make demo    set up the example project, back up its three tenants, serve their pages (PORT=$(PORT))"
	@echo "make test    run the tests"
	@echo "make year    a simulated year of fifty tenants (some three minutes)"
	@echo "make torture  kill, fill, damage, attack; ends with a table of what was survived (some ten minutes)"
	@echo "make check   lint, formatting, types, the layers of imports, plain English, migrations"
	@echo "make format  fix what the linter can fix"
	@echo "make messages  bring the translations in line with the code, and say what is left to translate"
	@echo "make screenshots  make the screenshots of the documentation (needs Chromium)"
	@echo "make clean   remove the virtual environment and the example's data"

# Made anew when the project's dependencies change.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

# Everybody finds port 8000 in use at times: make demo PORT=8080
demo: $(VENV)/installed
	$(BIN)/python manage.py demo --port $(PORT) $(ARGS)

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

# YEAR_SEED=7 for another year.
year: $(VENV)/installed-dev
	TEST_LONG=1 $(BIN)/python -m pytest tests/test_year.py $(ARGS)

# Its short form is part of the long form of the tests. ARGS="--only kills --seed 7" for one kind, and once more the same.
torture: $(VENV)/installed-dev
	$(BIN)/python -m tests.torture $(ARGS)

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.prose
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check --fail-level WARNING

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

messages: $(VENV)/installed-dev
	$(BIN)/python -m tests.messages

screenshots: $(VENV)/installed-dev
	$(BIN)/python -m tests.screenshots

clean:
	rm -rf $(VENV) var
