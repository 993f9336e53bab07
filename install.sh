#!/bin/sh
# Put storebox onto a machine that runs Debian 13, or Raspberry Pi OS of that age: docs/INSTALL.md.
#
#   sudo ./install.sh storebox-VERSION-py3-none-any.whl [--wheels DIR]     installs, or upgrades
#   sudo ./install.sh --uninstall                                          keeps the journal
#
# --wheels DIR: the dependencies lie there; nothing is downloaded. Either way only what requirements/box.txt names is
# taken, by its hash. Beside this file must lie requirements/box.txt and systemd/.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
program=/opt/storebox
releases=/opt/storebox.d
state=/var/lib/storebox
units=/usr/local/lib/systemd/system
started=$(test -d /run/systemd/system && echo yes || echo no)

say() { echo "install.sh: $*"; }
fail() { echo "install.sh: $*" >&2; exit "${code:-1}"; }
misuse() { code=2; sed -n 's/^#   //p' "$0" >&2; fail "$*"; }

must_fit() {
    [ "$(id -u)" -eq 0 ] || misuse "run it as root (sudo)"
    # RestartMode= came with 254.
    version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge 254 ] || fail "needs systemd 254 or newer (Debian 13), here is ${version:-none}"
    python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
        fail "needs Python 3.11 to 3.13"
    python3 -c 'import ensurepip, venv' 2>/dev/null || fail "needs python3-venv: apt install python3-venv"
    [ ! -e "$program" ] || [ -L "$program" ] || fail "$program is a folder: this machine runs the image, which updates itself"
}

# A new release lies beside the old one until it has shown that it runs.
unpack() {
    mkdir -p "$releases"
    release=$(mktemp -d "$releases/XXXXXXXX")
    trap 'rm -rf "$release"' EXIT
    chmod 755 "$release"
    say "making an environment in $release"
    python3 -m venv "$release"
    set -- --quiet --disable-pip-version-check --no-deps --no-cache-dir
    if [ -n "$wheels" ]; then set -- "$@" --no-index --find-links "$wheels"; fi
    "$release/bin/pip" --isolated install "$@" --require-hashes -r "$here/requirements/box.txt"
    "$release/bin/pip" --isolated install "$@" --no-index "$wheel"
    "$release/bin/pip" check --disable-pip-version-check >/dev/null
    "$release/bin/storebox" --version >"$release/VERSION"
    # Its units stay beside it: they are put back with it. Those of updates belong to an image with two slots.
    cp -R "$here/systemd" "$release/systemd"
    rm -f "$release"/systemd/storebox-update.* "$release"/systemd/storebox-commit.* "$release"/systemd/storebox-trial-*
    trap - EXIT
}

put_units_of() {
    install -D -m 644 -t "$units" "$1"/systemd/storebox*.service "$1"/systemd/storebox*.timer
    for unit in "$units"/storebox*.service "$units"/storebox*.timer; do
        [ -e "$1/systemd/${unit##*/}" ] || rm -f "$unit"
    done
    for kind in sysusers.d tmpfiles.d; do
        install -D -m 644 -t "/usr/local/lib/$kind" "$1/systemd/$kind/storebox.conf"
    done
    install -D -m 644 -t /usr/local/lib/systemd/journald.conf.d "$1/systemd/journald.conf.d/storebox.conf"
    install -D -m 755 -t /usr/lib/storebox "$1/systemd/libexec/escalate"
    [ -e /etc/storebox/storebox.toml ] ||
        install -D -m 644 -t /etc/storebox "$1/systemd/storebox.toml"
    systemd-sysusers storebox.conf
    systemd-tmpfiles --create storebox.conf
    [ "$started" = no ] || systemctl try-restart systemd-journald.service
}

switch_to() {
    put_units_of "$1"
    ln -sfn "$1" "$program.new"
    mv -T "$program.new" "$program"
}

# One try, of which nothing follows: neither further ones nor a reboot before the release before is back.
start() {
    trial=/run/systemd/system/storebox.service.d
    mkdir -p "$trial"
    printf '[Service]\nRestart=no\n' >"$trial/install.conf"
    systemctl --runtime --quiet mask storebox-escalate.service
    systemctl daemon-reload
    systemctl reset-failed storebox.service 2>/dev/null || true
    # Returns once it is ready: its journal is proven and its port answers.
    if systemctl restart storebox.service; then ready=yes; else ready=no; fi
    rm -rf "$trial"
    systemctl --runtime --quiet unmask storebox-escalate.service
    systemctl daemon-reload
    [ "$ready" = yes ]
}

put_in() {
    must_fit
    [ -f "$wheel" ] || misuse "there is no wheel $wheel"
    before=$(readlink "$program" || true)
    unpack
    switch_to "$release"
    ln -sfn "$program/bin/storebox" /usr/bin/storebox
    systemctl --quiet enable storebox.service
    if [ "$started" = yes ] && ! start; then
        [ -n "$before" ] || fail "it does not start: journalctl -u storebox"
        switch_to "$before"
        start || fail "neither this release nor the one before starts: journalctl -u storebox"
        rm -rf "$release"
        fail "this release does not start; the one before runs again"
    fi
    for old in "$releases"/*; do
        [ "$old" = "$release" ] || [ "$old" = "$before" ] || rm -rf "$old"
    done
    say "$(cat "$release/VERSION") is installed; its configuration is /etc/storebox/storebox.toml"
    [ "$started" = yes ] || say "it starts with the machine"
}

take_away() {
    [ "$(id -u)" -eq 0 ] || misuse "run it as root (sudo)"
    [ ! -e "$program" ] || [ -L "$program" ] || fail "$program is a folder: this machine runs the image"
    if [ "$started" = yes ]; then
        /usr/bin/storebox status 2>/dev/null | grep '^cloud' || true
        systemctl --quiet disable --now storebox.service storebox-again.timer storebox-degraded.service 2>/dev/null || true
    else
        systemctl --quiet disable storebox.service 2>/dev/null || true
    fi
    rm -f "$units"/storebox*.service "$units"/storebox*.timer /usr/bin/storebox "$program"
    rm -f /usr/local/lib/*.d/storebox.conf /usr/local/lib/systemd/journald.conf.d/storebox.conf
    rm -rf "$releases" /usr/lib/storebox
    [ "$started" = no ] || systemctl daemon-reload
    say "storebox is gone. Kept: $state (the journal, and the keys that sign it), /etc/storebox, the user storebox"
    say "remove $state only once head office holds every sale; another install goes on with it"
}

wheel='' wheels='' uninstall=no
while [ $# -gt 0 ]; do
    case $1 in
    --uninstall) uninstall=yes ;;
    --wheels)
        if [ $# -lt 2 ] || [ ! -d "$2" ]; then misuse "--wheels needs a folder"; fi
        wheels=$2
        shift
        ;;
    -*) misuse "unknown option $1" ;;
    *) [ -z "$wheel" ] || misuse "one wheel at a time"; wheel=$1 ;;
    esac
    shift
done
case $uninstall in
yes) [ -z "$wheel$wheels" ] || misuse "--uninstall takes nothing else"; take_away ;;
*) [ -n "$wheel" ] || misuse "which wheel?"; put_in ;;
esac
