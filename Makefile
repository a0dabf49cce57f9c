# Set-up and checks. `make demo` and `make test` each work from a fresh checkout.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

# PyPI's torch for Linux is a CUDA build of several gigabytes: where there is no NVIDIA GPU, take the CPU build.
TORCH := torch==2.13.0
CPU_INDEX := --no-deps --retries 1 --index-url https://download.pytorch.org/whl/cpu

# What the image installs: every dependency's version and hash, for the Python and the system of its base.
COMPILE := $(BIN)/uv pip compile pyproject.toml - --extra postgres --extra dashboard --extra cluster --python-version 3.11 \
	--python-platform x86_64-manylinux_2_28 --only-binary :all: --generate-hashes --no-header --quiet

.PHONY: demo test quick lint check slow golden soak status-test browser-test sampler-test lock deployment-test resolve wheels clean

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	command -v nvidia-smi >/dev/null 2>&1 || $(BIN)/pip install --quiet $(CPU_INDEX) $(TORCH) || true
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet -e '.[test]'
	$(BIN)/pip install --quiet --no-deps torchsynth==1.0.2  # the tests' peer; what it asks for does not install today
	touch $@

demo: $(VENV)/installed   ## Tune a nebula to the 111 drum hits of examples/drums
	$(BIN)/nebula-tune run --target examples/drums --storage sqlite:///demo/nebula-tune.db --out demo/drums.json

lint: $(VENV)/installed   ## Style, types, and who may import whom
	$(BIN)/ruff check nebula_tune tests benchmarks
	$(BIN)/ruff format --check nebula_tune tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint                ## Everything CI runs
	$(BIN)/pytest -m "not slow" -n 2 --dist loadfile

quick: $(VENV)/installed  ## What needs no server, no cluster and no other process that is interrupted: CI on macOS
	$(BIN)/pytest -m "not slow" tests/corpus tests/distance tests/embedding tests/search tests/synth tests/test_*.py

slow: $(VENV)/installed   ## The longer checks that need nothing else; soak, status-test, browser-test, sampler-test and deployment-test are the others
	$(BIN)/pytest -m "slow and not browser and not sampler" --ignore tests/service/test_soak.py --ignore tests/service/test_commands.py \
		--ignore tests/service/test_status.py --ignore tests/service/test_openings.py

golden: $(VENV)/installed   ## Five runs, to the byte what they were when the house began to be rebuilt (this kind of machine only)
	$(BIN)/python tests/golden/record.py check

MINUTES ?= $(or $(NEBULA_TUNE_SOAK_MINUTES),5)

soak: $(VENV)/installed   ## Three users on a cluster and a PostgreSQL, for five minutes (MINUTES=60: an hour), and all that may happen to them
	NEBULA_TUNE_SOAK_MINUTES=$(MINUTES) $(BIN)/pytest -s -m slow tests/service/test_soak.py tests/service/test_openings.py

status-test: $(VENV)/installed   ## The status of a thousand studies with a million trials, on SQLite and PostgreSQL, in two seconds
	$(BIN)/pytest -m slow tests/service/test_status.py

browser-test: $(VENV)/installed   ## Pages and dashboard in headless Chromium, which this installs (Debian, Ubuntu; as root)
	command -v chromedriver >/dev/null || { apt-get update && apt-get install -y chromium chromium-driver; }
	$(BIN)/pytest -m browser

sampler-test: $(VENV)/installed   ## Kits as a sampler plays them: MuseScore 3, which this installs (Debian, Ubuntu; as root)
	command -v mscore3 >/dev/null || { apt-get update && apt-get install -y --no-install-recommends musescore3; }
	$(BIN)/pytest -m sampler

lock: $(VENV)/installed   ## requirements.lock, with what is new in pyproject.toml; remove it first for the newest of everything
	echo $(TORCH) | $(COMPILE) --output-file requirements.lock

deployment-test: $(VENV)/installed   ## Lock against pyproject.toml; compose file against its schema and a linter (npx); each service's command, a Ray job
	cp requirements.lock $(VENV)/requirements.lock
	echo $(TORCH) | $(COMPILE) --output-file $(VENV)/requirements.lock
	diff requirements.lock $(VENV)/requirements.lock || { echo "requirements.lock is stale: make lock"; exit 1; }
	POSTGRES_PASSWORD=x RAY_AUTH_TOKEN=x npx --yes dclint@3.1.0 --max-warnings 0 docker-compose.yml
	$(BIN)/pytest -m slow tests/service/test_commands.py

resolve: $(VENV)/installed   ## Every range of dependencies at both its ends, on Python 3.11 to 3.13; asks the package index
	$(BIN)/python tests/resolution.py

wheels: $(VENV)/installed   ## Both distributions, nebula-tune and nebula-tune-ears, into dist/
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist . ./packages/ears

clean:
	rm -rf $(VENV) demo dist
