# Sourced by scripts/test, scripts/quickstart and .ci/run: makes .venv with the pinned versions of constraints.txt.
#
#   source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
#   ensure_venv dev            # or cli, plot, test: an extra of setup.cfg; several are joined with commas
#   "$VENV/bin/python" ...
#
# A run that finds everything in place takes milliseconds: .venv keeps a stamp for each extra, a hash of the files that
# decide what is installed. What is missing is added to the same .venv. A .venv that an interrupted run left half-made
# is made again.
#
# PYTHON=/path/to/python chooses the interpreter a new .venv is made with. pip reads its own variables as always: with
# PIP_EXTRA_INDEX_URL set to PyTorch's index of CPU builds, the download is a tenth of the size.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"

_say() { printf '%s\n' "$*" >&2; }

# Pythons that cannot make an environment are passed over: too old, without venv, or a shim with nothing behind it.
_usable_python() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

_find_python() {
    local candidate
    if [[ -n "${PYTHON:-}" ]]; then
        _usable_python "$PYTHON" && { printf '%s\n' "$PYTHON"; return 0; }
        _say "PYTHON=$PYTHON: expected Python 3.10 or newer with its venv module."
        return 1
    fi
    for candidate in python3.11 python3 python3.12 python3.13 python3.10; do
        _usable_python "$candidate" && { printf '%s\n' "$candidate"; return 0; }
    done
    _say "No Python found: expected python3.11, or python3 of version 3.10 or newer, with its venv module"
    _say "(on Debian and Ubuntu: apt-get install python3-venv). PYTHON=/path/to/python names another one."
    return 1
}

# An environment made by another tool may lack pip: it is given one.
_has_pip() {
    "$VENV/bin/python" -m pip --version >/dev/null 2>&1 ||
        { "$VENV/bin/python" -m ensurepip && "$VENV/bin/python" -m pip --version; } >/dev/null 2>&1
}

# The hash of everything that decides what an installation contains.
_venv_hash() {
    (cd "$ROOT" && cat constraints.txt setup.cfg pyproject.toml scripts/venv.sh && if [[ -f setup.py ]]; then cat setup.py flowtorch/_native/*.{h,cpp}; fi) |
        "$VENV/bin/python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read() + sys.prefix.encode()).hexdigest())'
}

_stamp() { printf '%s\n' "$VENV/.flowtorch-installed-$1"; }

# pip puts right what fails by itself; what is stopped from outside it leaves half-written. So the marker goes away when
# pip has ended, however it ended, and stays when this shell was stopped with it.
_pip_install() {
    local status=0 quiet=(-q -q) # in a log, errors only; at a terminal, what is being downloaded
    if [[ -t 2 ]]; then quiet=(--disable-pip-version-check); fi
    : >"$VENV/.flowtorch-installing"
    "$VENV/bin/python" -m pip install "${quiet[@]}" -c "$ROOT/constraints.txt" "$@" >&2 || status=$?
    if [[ "$status" -lt 128 ]]; then rm -f "$VENV/.flowtorch-installing"; fi
    return "$status"
}

_install() { # in a subshell, so that the traps below stay here
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # torch by name and first: a range left to pip could take another build than the one that is pinned.
    _pip_install torch setuptools || return
    _pip_install --no-build-isolation -e "${ROOT}[$1]" || return
    # Imported from elsewhere than the checkout, where the package would be found without being installed.
    (cd "$VENV" && bin/python -c 'import importlib.metadata, torch; importlib.metadata.version("flowtorch")')
}

ensure_venv() {
    local extras="$1" hash extra python missing=""
    if [[ -e "$VENV" ]] && { [[ -e "$VENV/.flowtorch-installing" ]] || ! _has_pip; }; then
        _say "$VENV is incomplete, as an interrupted run leaves it. It is made again."
        rm -rf "$VENV"
    fi
    if [[ ! -e "$VENV" ]]; then
        python="$(_find_python)" || return 1
        _say "Making $VENV with $("$python" --version)."
        "$python" -m venv "$VENV" || { rm -rf "$VENV"; return 1; }
    fi
    if ! "$VENV/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
        _say "$VENV: expected Python 3.10 or newer; got $("$VENV/bin/python" --version). Remove it and run this again."
        return 1
    fi

    hash="$(_venv_hash)" || return 1
    for extra in ${extras//,/ }; do
        [[ "$(cat "$(_stamp "$extra")" 2>/dev/null)" == "$hash" ]] || missing="$missing,$extra"
    done
    if [[ -z "$missing" ]]; then return 0; fi

    _say "Installing flowtorch[${missing#,}] and the versions of constraints.txt. The first time, this takes minutes."
    (_install "${missing#,}") || { _say "Installation failed. Run the command again, or remove $VENV first."; return 1; }
    # dev contains these.
    for extra in ${missing//,/ }; do
        if [[ "$extra" == dev ]]; then missing="$missing,cli,export,plot,pyro,sbi,sklearn,test,train"; fi
    done
    for extra in ${missing//,/ }; do
        printf '%s\n' "$hash" >"$(_stamp "$extra")"
    done
}
