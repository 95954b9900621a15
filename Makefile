# `make` lists the targets. Each needs only Python 3.11 to 3.13 with venv and pip; uv is used for
# the installation if it is there. PYTHON=/path/to/python chooses the interpreter of a new .venv.

VENV := .venv
BIN := $(VENV)/bin
PORT = 5000
LOCK = uv pip compile --universal --python-version 3.11 --fork-strategy fewest \
	--no-emit-index-url --no-emit-find-links --no-header --quiet $(UPGRADE)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo ui test lint format types contracts check bench lock clean-cache clean

help: ## List the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## Make .venv with the locked dependencies

demo: setup ## Train the seven variants on synthetic images, one also without leak; print the table
	@$(BIN)/python -m study.grid --dataset demo
	@$(BIN)/python -m study.train --dataset demo --split grouped
	@$(BIN)/python -m pipelines.export --dataset demo
	@echo
	@echo "Every run, curve and prediction: make ui, then open the address it prints"
	@echo "The table as .csv, .md and .html: exports/"

ui: $(if $(wildcard $(BIN)/mlflow),,setup) ## Serve the MLflow UI of the runs here (make ui PORT=5001)
	@uri=$$($(BIN)/python -c 'import sys; from study.common.command import run_command; \
		from study.common.settings import tracking_uri; \
		sys.exit(run_command(lambda: print(tracking_uri())))') || exit 2; \
	case $$uri in \
		http*) printf 'The runs are on a server: open %s\n' "$$uri" | sed 's|//.*@|//|' ;; \
		*) echo "Open http://127.0.0.1:$(PORT)/#/experiments?workflowType=machine_learning"; \
			export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_BACKEND_STORE_URI="$$uri"; \
			exec $(BIN)/mlflow ui --port $(PORT) ;; \
	esac

test: $(VENV)/.installed-dev ## Run the tests, three at a time (`.venv/bin/pytest -m slow` runs the slow ones)
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-dev ## Check style and format with ruff
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev ## Put the code into ruff's format and fix what it can fix
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(VENV)/.installed-dev ## Check the types with mypy --strict
	@$(BIN)/mypy

contracts: $(VENV)/.installed-dev ## Check which room imports which (import-linter)
	@$(BIN)/lint-imports

check: lint types contracts test ## Lint, types, contracts and tests

bench: setup ## Time an epoch, the table and an audit (minutes; benchmarks/README.md has the others)
	@$(BIN)/python -m benchmarks.epoch
	@$(BIN)/python -m benchmarks.table
	@$(BIN)/python -m benchmarks.audit --images 5000

lock: $(VENV)/.installed-dev ## Remake both locks from pyproject.toml (UPGRADE=--upgrade for newer ones)
	@PATH="$(BIN):$$PATH"; set -e; \
	$(LOCK) pyproject.toml -o requirements.lock; \
	$(LOCK) pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock
	@echo "Done. conda.yaml carries the pins of pyproject.toml too: make test compares them."

clean-cache: setup ## Delete the decoded images (they are made again when needed)
	@$(BIN)/python -c 'from study.common.cache import clear_cache; clear_cache()'

clean: ## Delete .venv and the tools' caches; runs, exports and images stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment -------------------------------------------------------------------------

SUITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

# Empty if .venv works: it may have been half made, or its Python removed from the system.
NEW_VENV := $(shell $(BIN)/python -c 'import pip' 2>/dev/null || echo $(VENV))

# Asking each candidate its version also weeds out pyenv's shims, which exist but may not run.
.PHONY: $(VENV)
$(VENV):
	@for python in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
		"$$python" -c '$(SUITS)' >/dev/null 2>&1 || continue; \
		found=$$python; \
		command -v uv >/dev/null && break; \
		"$$python" -c 'import ensurepip, venv' >/dev/null 2>&1 && break; \
		bare=$$python; found=; \
	done; \
	if [ -n "$$found" ]; then \
		echo "Making $(VENV) with $$("$$found" --version), $$(command -v "$$found")"; \
	elif [ -n "$$bare" ]; then \
		echo "$$bare cannot make virtual environments: install its venv module" \
			"(Debian, Ubuntu: apt install $${bare##*/}-venv), or uv." >&2; exit 1; \
	else \
		echo "No Python 3.11, 3.12 or 3.13 here (TensorFlow needs one of them): install one," \
			"or name it: make setup PYTHON=/path/to/python3.12" >&2; exit 1; \
	fi; \
	if command -v uv >/dev/null; then uv venv --quiet --clear --seed --python "$$found" $(VENV); \
	else "$$found" -m venv --clear $(VENV); fi

INSTALL = echo "Installing $$(grep -c == $<) packages (about 3 GB): takes some minutes"; \
	if command -v uv >/dev/null; then \
		uv pip install --compile-bytecode --python $(BIN)/python -r $<; \
	else \
		$(BIN)/python -m pip install --no-deps --disable-pip-version-check -r $<; \
	fi

$(VENV)/.installed: requirements.lock $(NEW_VENV)
	@$(INSTALL)
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(NEW_VENV)
	@$(INSTALL)
	@touch $@ $(VENV)/.installed
