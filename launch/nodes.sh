#!/usr/bin/env bash
# Train on several machines without Slurm: one `accelerate launch` on each, over ssh, and vLLM servers on some.
#
#   bash launch/nodes.sh HOST HOST ... -- RECIPE [--key value ...]
#   bash launch/nodes.sh --servers 2 node{1..8} -- recipes/qwen3-32b/grpo_lambda.yaml    # two of the eight sample
#   bash launch/nodes.sh --help
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec .venv/bin/python launch/nodes.py "$@"
