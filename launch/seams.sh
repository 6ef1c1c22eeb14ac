#!/usr/bin/env bash
# Says which of this project's overrides another version of TRL would break: the newest unless one is named. Nothing in .venv
# changes: that TRL is unpacked into a folder of its own and put before the installed one.
#
#   bash launch/setup.sh dev && bash launch/seams.sh [VERSION]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --target "$folder" "trl${1:+==$1}"
PYTHONPATH="$folder:$PWD" .venv/bin/python -m tests.seams
