# Needs git, make and Python >= 3.11; everything else is installed into .venv.

VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
BENCH := .bench
ORPC := .orpc
PYTHONS := python3.13 python3.12 python3.11 python3

# Behind a proxy that intercepts TLS, use the machine's CA certificates, as pip does.
export UV_SYSTEM_CERTS := 1

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

.PHONY: demo demo-ui
# The demos start Airflow with what the integration tests start it with.
demo demo-ui: export PYTHONPATH := tests/integration
demo: $(READY) ## Run an example DAG in real Airflow against the sandbox and show what it published
	@$(PYTHON) example_dags/demo/run_demo.py

demo-ui: $(READY) ## Start Airflow with its web interface, and the sandbox, until Ctrl-C
	@$(PYTHON) example_dags/demo/run_demo_ui.py

.PHONY: test
test: $(READY) ## Run all tests, those with a real Airflow included
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory orpc || echo "Some tests will be skipped." >&2; fi
	@if command -v mariadb_config >/dev/null; then $(MAKE) --no-print-directory mysql || echo "Some tests will be skipped." >&2; fi
	@$(MAKE) --no-print-directory unit slow
	@$(PYTHON) -m pytest -m "(integration or soak) and not slow" --numprocesses 3 --dist loadfile

.PHONY: unit slow
# The processes share what they have compiled.
unit slow: export PYTHONDONTWRITEBYTECODE :=
unit: $(READY) ## Run the quick tests only, in four processes
	@$(PYTHON) -m pytest -m "not slow and not integration and not soak" --numprocesses 4 --dist loadfile

slow: $(READY) ## Run the tests that wait in real time, in four processes
	@$(PYTHON) -m pytest -m "slow and not integration" --numprocesses 4 --dist loadfile

.PHONY: orpc
orpc: $(ORPC)/.ready ## Install the RPC framework for the contract tests (needs Node.js 20 or later and npm)

.PHONY: mysql
mysql: $(VENV)/.mysql ## Install Airflow's MySQL provider for the tests (needs a C compiler and the headers of MariaDB or MySQL)

.PHONY: soak
soak: $(READY) ## Run the soak tests: 50,000 creates with faults, and 500 waits for ten minutes
	@POLYTEIA_SOAK_CALLS=50000 POLYTEIA_SOAK_SECONDS=600 POLYTEIA_SOAK_INTERVAL=5 AIRFLOW__LOGGING__LOGGING_LEVEL=ERROR \
	  $(PYTHON) -m pytest tests/soak --capture=no --show-capture=no

.PHONY: matrix
matrix: $(READY) ## Test the built wheel on every supported Airflow; LINES="2.11.2:unit lowest" for some
	@$(PYTHON) .ci/matrix.py $(LINES)

.PHONY: quickstart-test
quickstart-test: $(READY) ## Test the quick start in a clean environment (pip, airflow standalone, one example)
	@$(PYTHON) .ci/quickstart.py

.PHONY: celery
celery: $(READY) ## Run the examples with CeleryExecutor and two workers; needs PostgreSQL and Redis
	@$(PYTHON) .ci/celery.py

.PHONY: bench
bench: $(BENCH)/.ready ## Run the benchmarks against alternatives (needs nginx, PostgreSQL, MariaDB with its headers)
	@$(BENCH)/bin/python tests/benchmarks/run.py

.PHONY: lint
lint: $(READY) ## Check style, types and security
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
	@$(PYTHON) -m bandit --quiet --recursive --configfile pyproject.toml airflow_provider_polyteia

.PHONY: audit
audit: $(READY) ## Scan installed packages for known vulnerabilities (needs internet access)
	@$(PYTHON) -m pip_audit --skip-editable --progress-spinner off

.PHONY: docs
docs: $(READY) ## Build the documentation into build/docs
	@$(PYTHON) -m sphinx --quiet --fail-on-warning --keep-going docs build/docs
	@echo "Open build/docs/index.html"

.PHONY: screenshots
screenshots: $(READY) ## Regenerate the documentation screenshots in a real browser
	@POLYTEIA_SCREENSHOTS=docs/images $(PYTHON) -m pytest tests/integration/test_browser_*.py

.PHONY: build
build: $(READY) ## Build the sdist and the wheel into dist/
	@rm -rf dist
	@$(PYTHON) -m uv build --quiet --out-dir dist
	@$(PYTHON) -m twine check --strict dist/*

.PHONY: clean
clean: ## Remove .venv and everything that was built
	rm -rf $(VENV) $(BENCH) $(ORPC) .airflow .matrix build dist site .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Rebuilt when the dependencies may have changed.
$(READY): pyproject.toml | $(PYTHON)
	@echo "Installing the provider and its tools into $(VENV) ..."
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check "uv>=0.10"
	@$(PYTHON) -m uv pip install --quiet --compile-bytecode --python $(PYTHON) --editable ".[sandbox,postgres,odbc,files,socks]" --group dev
	@touch $(READY)

$(VENV)/.mysql: $(READY)
	@$(PYTHON) -m uv pip install --quiet --compile-bytecode --python $(PYTHON) apache-airflow-providers-mysql \
	  "$$($(PYTHON) -m uv pip freeze --python $(PYTHON) | grep '^apache-airflow==')"
	@touch $@

# The competitors of the benchmarks are installed into a separate environment, with the same Airflow.
$(BENCH)/.ready: tests/benchmarks/requirements.txt $(READY)
	@echo "Installing the provider and its peers into $(BENCH) ..."
	@$(PYTHON) -m uv venv --quiet --allow-existing --python $(PYTHON) $(BENCH)
	@$(PYTHON) -m uv pip install --quiet --compile-bytecode --python $(BENCH)/bin/python --editable ".[sandbox,postgres,files]" \
	  --requirement $< "$$($(PYTHON) -m uv pip freeze --python $(PYTHON) | grep '^apache-airflow==')"
	@touch $@

# Both versions of the RPC framework, without the install scripts of packages.
$(ORPC)/.ready: tests/orpc/package.json
	@echo "Installing the RPC framework into $(ORPC) ..."
	@rm -rf $(ORPC) && mkdir $(ORPC) && cp $< $(ORPC)
	@npm install --prefix $(ORPC) --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

$(PYTHON):
	@for python in $(PYTHONS); do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Creating $(VENV) with $$($$python --version) ..."; \
	    $$python -m venv $(VENV) && exit 0; \
	    rm -rf $(VENV); \
	    echo "$$python cannot create virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
	    exit 1; \
	  fi; \
	done; \
	echo "No Python >= 3.11 found (looked for: $(PYTHONS)). Install one and run make again." >&2; exit 1
