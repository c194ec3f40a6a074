# The verbs of this checkout. Each sets up `.venv` first when pyproject.toml has changed.

BOOTSTRAP := $(or $(PYTHON),python3) tools/bootstrap.py

.DEFAULT_GOAL := help
.PHONY: help setup lab test lint format types docs bench clean

help:    ## show these verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:   ## install everything into .venv
	@$(BOOTSTRAP) run

lab:     ## open JupyterLab on the quickstart (./start)
	@./start

test:    ## every check and every test, in parallel and in random order (./test)
	@./test

lint:    ## ruff and the layers
	@$(BOOTSTRAP) check lint

format:  ## let ruff mend what it can
	@$(BOOTSTRAP) run ruff check --fix --quiet . ; $(BOOTSTRAP) run ruff format .

types:   ## mypy --strict, and pyright on the public API
	@$(BOOTSTRAP) check types

docs:    ## the documentation as a site, in build/docs
	@$(BOOTSTRAP) run sphinx -W -q -b html docs build/docs && echo "build/docs/index.html"

bench:   ## the benchmarks, as ratios in one run
	@$(BOOTSTRAP) run benchmarks

clean:   ## remove .venv and every cache
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
