#!/usr/bin/env bash
# From a bare checkout to a report: installs, trains the embedded reasoner to stop by itself (GRPO-lambda), evaluates it
# against the model it started from, and prints the table. 12 minutes at most on two idle cores, without a GPU and without a hub;
# it says how long each part took.
#
#   bash launch/quickstart.sh
#
# Results are in runs/quickstart. Run again, it goes on where it was interrupted; remove that folder to start over.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=runs/quickstart
times=""
stage() {  # stage NAME COMMAND...: run it, and note the minutes it took
    local name=$1 start=$SECONDS
    shift
    echo "quickstart: $name" >&2
    "$@"
    times+=$(printf '  %-8s %5.1f min' "$name" "$(minutes_since "$start")")$'\n'
}
minutes_since() { awk -v s="$((SECONDS - $1))" 'BEGIN { print s / 60 }'; }

stage install bash launch/setup.sh
# One thread: at this size of model a second gains little, and costs much wherever something else wants the core.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PATH="$PWD/.venv/bin:$PATH"
mkdir -p "$out"
stage train concise-rl train recipes/tiny/grpo_lambda.yaml --output_dir "$out/model"
stage evaluate concise-rl eval --model "grpo_lambda=$out/model" --baseline tiny:base --task tiny:sums --out "$out" >"$out/eval.log"
printf '\nTime taken:\n%s\n' "$times"
concise-rl report "$out"
cat <<END
The run:  $out/model/run.html   (what it learnt, step by step)

Next, after \`source .venv/bin/activate\`:
  concise-rl try $out/model --against tiny:base   # ask it something, and watch both think
  concise-rl train recipes/tiny/s_grpo.yaml                 # train by another method
  concise-rl probe tiny:base --task tiny:sums               # is a model worth training? Name your own model and data
END
