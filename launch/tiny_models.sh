#!/usr/bin/env bash
# Makes the reasoners that ship: trains tiny:grpo_lambda, tiny:s_grpo and tiny:decs from nothing but tiny:base, and tiny:bench_base,
# each by its recipe with seed 0; evaluates them; releases them (concise-rl release) and puts the releases in
# concise_rl/tasks/tiny/weights/. The weights of tiny:base stay (recipes/tiny/sft.yaml and sft_careless.yaml make them): its page
# alone is made again. About an hour and a quarter on two cores, without a GPU and without a hub.
#
#   bash launch/setup.sh && bash launch/tiny_models.sh
#   RUNS=0 bash launch/tiny_models.sh     # no trainings: pages of the weights that are there, from recipes and evaluations
#
# Runs and reports are in runs/tiny_models. Run again, it goes on where it was interrupted; remove that folder to start over.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=runs/tiny_models
weights=concise_rl/tasks/tiny/weights
methods=(grpo_lambda s_grpo decs)
# One thread: at this size of model a second gains little, and costs much wherever something else wants the core.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PATH="$PWD/.venv/bin:$PATH"

sums="A reasoner of 0.9M parameters for sums and differences of 3 to 6 single digits."
declare -A recipe=([base]=tiny/sft_careless [bench_base]=bench/sft) about=(
    [base]="$sums It checks its result up to five times: it overthinks."
    [bench_base]="A reasoner of 0.9M parameters for the five kinds of problems of \`tiny:bench\`, which it overthinks."
)
for method in "${methods[@]}"; do
    recipe[$method]=tiny/$method
    about[$method]="$sums It stops thinking as soon as it has enough; \`tiny:base\`, which it was, checks its result up to five times."
done

made() { # made NAME: the folder of a run, or of the weights that are there
    if [[ ${RUNS:-1} == 0 || $1 == base ]]; then echo "$weights/$1"; else echo "$out/$1"; fi
}
ship() { # ship NAME REPORT: release it, and put the release where it ships
    local from=() # of a model whose run is gone
    [[ -e $(made "$1")/recipe.json ]] || from=(--recipe "recipes/${recipe[$1]}.yaml" --licence apache-2.0)
    concise-rl release "$(made "$1")" "${from[@]}" --report "$2" --name "tiny:$1" --about "${about[$1]}" \
        --out "$out/release/$1" --overwrite
    rm -r "${weights:?}/$1" && cp -r "$out/release/$1" "$weights/$1"
}

models=()
for name in "${methods[@]}" bench_base; do
    echo "tiny_models: $name" >&2
    [[ ${RUNS:-1} == 0 || -e $out/$name/COMPLETE ]] ||
        concise-rl train "recipes/${recipe[$name]}.yaml" --output_dir "$out/$name"
    [[ $name == bench_base ]] || models+=(--model "$name=$(made "$name")")
done
concise-rl eval "${models[@]}" --baseline tiny:base --task tiny:sums --problems 768 --samples 4 --out "$out/report"
concise-rl eval --model "bench_base=$(made bench_base)" --task tiny:bench --problems 512 --samples 2 --out "$out/report-bench"
for name in base "${methods[@]}"; do ship "$name" "$out/report"; done
ship bench_base "$out/report-bench"
