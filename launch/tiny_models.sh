#!/usr/bin/env bash
# Makes the trained reasoners that ship (tiny:grpo_lambda, tiny:s_grpo, tiny:decs) from nothing but tiny:base: trains each by its
# recipe with seed 0, puts it in concise_rl/tasks/tiny/weights/, evaluates all of them on 768 test problems x 4, and writes their cards.
# About 40 minutes on two cores, without a GPU and without a hub.
#
#   bash launch/setup.sh && bash launch/tiny_models.sh
#
# Runs and report are in runs/tiny_models. Run again, it goes on where it was interrupted; remove that folder to start over.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=runs/tiny_models
weights=concise_rl/tasks/tiny/weights
# One thread: at this size of model a second gains little, and costs much wherever something else wants the core.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PATH="$PWD/.venv/bin:$PATH"

models=()
for method in grpo_lambda s_grpo decs; do
    echo "tiny_models: $method" >&2
    [[ -e $out/$method/COMPLETE ]] || concise-rl train "recipes/tiny/$method.yaml" --output_dir "$out/$method"
    mkdir -p "$weights/$method"
    cp "$out/$method"/{config.json,generation_config.json,model.safetensors} "$weights/$method/"
    # Training leaves the tokenizer as it is; saving it adds settings of the machine.
    cp "$weights"/base/{chat_template.jinja,tokenizer.json,tokenizer_config.json} "$weights/$method/"
    models+=(--model "tiny:$method")
done
concise-rl eval "${models[@]}" --baseline tiny:base --task tiny:sums --problems 768 --samples 4 --out "$out/report"
python -m concise_rl.evaluate.tiny_cards "$out/report/report.json"
