# Everything runs in .venv, made on first use. Paths may hold spaces: no target is absolute.
PYTHON ?= python3
BIN := .venv/bin
STAMPS := .venv/stamps

.PHONY: demo stop test check format images bench bench-peers clean help

help:
	@echo "make demo    classify the files of this project's .venv on warm replicas (again: they are warm)"
	@echo "make stop    end the local hub and its replicas"
	@echo "make test    all tests"
	@echo "make check   format, lint, types, import contracts"
	@echo "make images  the Docker images greenroom-replica and greenroom-hub, of this checkout"
	@echo "make bench   workloads of bench/, ours and the installed peers in turns; table and plots of docs/performance.md"
	@echo "make bench-peers   a virtual environment for each peer"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(f"Greenroom needs Python 3.11 or newer; {sys.executable} is {v[0]}.{v[1]}. Try: make PYTHON=python3.12" if v < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	@mkdir -p $(STAMPS)

$(STAMPS)/demo: pyproject.toml | $(BIN)/python
	@mkdir -p $(STAMPS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[hub,demo]'
	@$(BIN)/python -m compileall -q hub replica sdk  # Where Python may write no bytecode, each start would compile it anew.
	@touch $@

$(STAMPS)/dev: pyproject.toml | $(BIN)/python
	@mkdir -p $(STAMPS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[hub,demo,dev]'
	@$(BIN)/python -m compileall -q hub replica sdk
	@touch $@

demo: $(STAMPS)/demo
	@env -u CI $(BIN)/greenroom run examples/classify_files.py classify_files --folder "$(CURDIR)/.venv/lib"
	@echo "The local hub and its warm replicas stay for the next run: 'make demo' again shows it, 'make stop' ends them."

stop:
	@if [ -x $(BIN)/greenroom ]; then env -u CI $(BIN)/greenroom hub stop; else echo "nothing is installed here"; fi

test: $(STAMPS)/dev
	$(BIN)/python -m pytest -m 'not alone' -n 3 --dist loadfile  # Many wait: three keep two cores busy.
	$(BIN)/python -m pytest -m alone  # Those that measure time or allocations.

check: $(STAMPS)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMPS)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

images: | $(BIN)/python
	rm -rf wheels
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir wheels .
	docker build --target replica --tag greenroom-replica .
	docker build --target hub --tag greenroom-hub .

bench: $(STAMPS)/dev
	$(BIN)/python -m bench $(BENCH)

bench-peers: $(STAMPS)/dev
	$(BIN)/python -m bench.peers.install

clean:
	rm -rf .venv build dist wheels .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
