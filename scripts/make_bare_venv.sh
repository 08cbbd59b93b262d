#!/bin/sh
# Make an environment that holds Django and nothing else of the pins: make_bare_venv.sh PYTHON FOLDER REQUIREMENTS
set -eu
python=$1 venv=$2 requirements=$3
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
awk '/^[a-z]/ { keep = /^(django|asgiref|sqlparse|tzdata)==/ } keep' "$requirements" >"$venv/requirements.txt"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$venv/requirements.txt"
