#!/bin/sh
# Write requirements/django-*.txt: versions and hashes for every platform, no addresses. pin_requirements.sh BIN_FOLDER
set -eu
uv=$1/uv
command -v "$uv" >/dev/null 2>&1 || uv=uv
pin() {
    echo "django~=$1.0" | "$uv" pip compile --quiet --universal --python-version "$2" --generate-hashes --no-header \
        --no-annotate --no-emit-index-url --no-emit-find-links --prerelease disallow --all-extras --group dev \
        --constraints - --output-file "requirements/django-$1.txt" pyproject.toml
}
pin 5.2 3.11
pin 6.0 3.12
pin 6.1 3.12
