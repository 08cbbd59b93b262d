#!/bin/sh
# Make the virtual environment: make_venv.sh PYTHON FOLDER REQUIREMENTS. Uses uv where it is at hand, else pip.
set -eu
python=$1 venv=$2 requirements=$3
"$python" -c 'import sys; sys.exit("dbopt needs Python 3.11 or newer, this is " + sys.version) if sys.version_info < (3, 11) else None'
# --no-deps: the pins are complete, and pip before 24 refuses "coverage[toml]" in hash mode once a newer release exists.
echo "Installing into $venv (once) ..."
if command -v uv >/dev/null 2>&1; then
    [ -x "$venv/bin/python" ] || uv venv --quiet --python "$python" "$venv"
    uv pip install --quiet --python "$venv/bin/python" --no-deps --require-hashes -r "$requirements"
    uv pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation -e .
else
    [ -x "$venv/bin/pip" ] || "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$requirements"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
fi
