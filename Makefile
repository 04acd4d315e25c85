# The one door to every task. Each target does all its own set-up in .venv.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 3000
BIN := .venv/bin
CARGO_LINT = cd engine && cargo fmt --check && cargo fmt --check --manifest-path fuzz/Cargo.toml && cargo clippy --quiet --all-targets -- -D warnings

.DEFAULT_GOAL := help
.PHONY: help setup demo robot camera test test-slow soak fuzz faults audit autobahn lint format docs bench bench-scale bench-latency bench-broker bench-peers bench-backplane clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

setup: ## Make .venv with crosspeer and its command in it
	@PYTHON="$(PYTHON)" scripts/setup

demo: setup ## Run the chat on http://127.0.0.1:3000
	@exec $(BIN)/crosspeer serve examples/chat --host $(HOST) --port $(PORT)

robot: ## Run the robot that a page drives on http://127.0.0.1:3000
	@PYTHON="$(PYTHON)" scripts/setup examples
	@exec $(BIN)/python examples/robot/robot.py --port $(PORT)

camera: ## Stream a camera, or a test pattern, into a page on http://127.0.0.1:3000
	@PYTHON="$(PYTHON)" scripts/setup examples
	@exec $(BIN)/python examples/camera/camera.py --port $(PORT)

test: ## Install what the tests need and run them all
	@PYTHON="$(PYTHON)" scripts/setup test
	@if command -v cargo >/dev/null; then cargo test --quiet --manifest-path engine/Cargo.toml --package crosspeer-core; fi
	@$(BIN)/python $(if $(ARGS),-m pytest $(ARGS),scripts/test)

test-slow: ## Run the tests that take ten thousand peers
	@PYTHON="$(PYTHON)" scripts/setup test
	@$(BIN)/python -m pytest -m slow $(ARGS)

soak: ## Load a server for SECONDS (1200) and fail if its memory, descriptors or tasks grow
	@PYTHON="$(PYTHON)" scripts/setup test
	@$(BIN)/python tests/faults/soak.py $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

fuzz: ## Feed made-up bytes to both engines, FUZZ_SECONDS (10) for each target
	@PYTHON="$(PYTHON)" scripts/setup test
	@PYTHON="$(PYTHON)" scripts/fuzz $(ARGS)

audit: ## Ask what is known against our dependencies: advisories, licences, sources
	@PYTHON="$(PYTHON)" scripts/setup
	@PYTHON="$(PYTHON)" scripts/audit $(ARGS)

faults: ## Run three nodes, 1000 clients and one fault at a time on each backplane (12 minutes), every delivery checked
	@PYTHON="$(PYTHON)" scripts/setup test
	@$(BIN)/python tests/faults/fleet.py $(ARGS)

autobahn: ## Run the Autobahn test suite over both engines (10 minutes; needs a python2.7)
	@PYTHON="$(PYTHON)" scripts/setup
	@scripts/autobahn $(ARGS)

lint: ## Check format, style, types and the direction of imports
	@PYTHON="$(PYTHON)" scripts/setup test lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@if command -v cargo-clippy >/dev/null; then $(CARGO_LINT); fi

docs: ## Write the pages of what the tests find: compatibility, hostile inputs, licences (10 minutes)
	@PYTHON="$(PYTHON)" scripts/setup test lint
	@$(BIN)/python -m pytest tests/contract --deselect tests/contract/test_compatibility.py
	@PYTHONPATH=tests $(BIN)/python -m compatibility
	@PYTHONPATH=tests $(BIN)/python -m hostile
	@PYTHONPATH=tests $(BIN)/python -m licences

bench: setup ## Measure crosspeer beside its rivals (20 minutes) and write bench/RESULTS.md
	@$(BIN)/python bench/run.py --write $(ARGS)

bench-scale: setup ## Measure what a message costs by peers, topics and size (10 minutes) and write bench/SCALE.md
	@$(BIN)/python bench/run.py --suite scale --runs 3 --write $(ARGS)

bench-latency: setup ## Measure latency under load beside the rivals (10 minutes) and write bench/LATENCY.md
	@$(BIN)/python bench/latency.py --write $(ARGS)

bench-broker: setup ## Measure the PeerJS broker beside npm's (10 minutes) and write bench/BROKER.md
	@$(BIN)/python bench/run.py --suite broker --write $(ARGS)

bench-peers: ## Measure data connections beside plain WebRTC channels (8 minutes) and write bench/PEERS.md
	@PYTHON="$(PYTHON)" scripts/setup test
	@$(BIN)/python bench/peers.py --write $(ARGS)

bench-backplane: ## Measure what a backplane costs a node (8 minutes) and write bench/BACKPLANE.md
	@PYTHON="$(PYTHON)" scripts/setup test
	@$(BIN)/python bench/backplane.py --write $(ARGS)

format: ## Format the code and mend what can be mended
	@PYTHON="$(PYTHON)" scripts/setup lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove the environment and all caches
	rm -rf bench/.env bench/servers/node_modules tests/interop/npm-*/node_modules bench/load/target engine/target engine/fuzz/corpus engine/fuzz/seeds
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
