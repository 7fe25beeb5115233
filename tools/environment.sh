#!/bin/sh
# Make the virtual environment FOLDER and install this package into it with one EXTRA:
#
#     PYTHON=python3 sh tools/environment.sh FOLDER EXTRA
#
# Does nothing when that has been done since pyproject.toml last changed.
set -eu

venv=$1
extra=$2
python=${PYTHON:-python3}
stamp=$venv/.installed-$extra
log=$venv/install-$extra.log

stop() {
    printf '\nfastloss: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}

check_python() {
    command -v "$python" >/dev/null 2>&1 || stop "no '$python' on this machine." \
        "Install Python 3.10 or newer, or name yours:  make PYTHON=/path/to/python ..."
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || stop \
        "'$python' is $("$python" --version 2>&1 || echo 'not a working Python'); fastloss needs Python 3.10 or newer." \
        "Name a newer one:  make PYTHON=python3.12 ..."
    "$python" -c 'import ensurepip, venv' 2>/dev/null || stop \
        "'$python' cannot make virtual environments: its venv or ensurepip module is missing." \
        "On Debian and Ubuntu:  sudo apt-get install python3-venv"
}

# A moved or upgraded interpreter, or an interrupted run, leaves a folder that looks like an
# environment and is none.
is_usable() {
    "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

make_environment() {
    check_python
    echo "fastloss: making $venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv" || stop "could not make the environment in $venv."
}

# pip says a lot; of it, what a waiting person wants to see.
show_progress() {
    while IFS= read -r line; do
        line=${line#"${line%%[! ]*}"}
        case $line in
            Collecting\ * | Downloading\ *\(*) printf '  %s\n' "${line%% (from *}" ;;
            Processing\ *.whl*) line=${line##*/} && printf "  Processing %s\n" "${line%% (from *}" ;;
            Building\ *started | Installing\ collected*) printf '  %s ...\n' "${line%%: *}" ;;
        esac
    done
}

install_extra() {
    echo "fastloss: installing fastloss[$extra] into $venv (the first time takes a few minutes)"
    {
        status=0
        PYTHONUNBUFFERED=1 "$venv/bin/python" -m pip install --disable-pip-version-check \
            --no-input --retries 2 --progress-bar off --editable ".[$extra]" 2>&1 || status=$?
        echo "pip ended with $status"
    } | tee "$log" | show_progress
    [ "$(tail -n 1 "$log")" = "pip ended with 0" ] || {
        grep -i '^ *error' "$log" >&2 || tail -n 15 "$log" >&2
        stop "pip could not install fastloss[$extra] (its whole output: $log)." \
            "Without a network: is this machine online, and does it need a proxy or an own package index?" \
            "pip takes them from HTTPS_PROXY, PIP_INDEX_URL and PIP_FIND_LINKS." \
            "With 'No matching distribution': this Python may be newer than Numba supports; try another, PYTHON=..."
    }
}

is_usable || make_environment
if [ -z "$(find "$stamp" -newer pyproject.toml 2>/dev/null)" ]; then
    install_extra
    touch "$stamp"
fi
