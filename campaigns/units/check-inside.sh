#!/bin/sh
# On a machine with our units: systemd finds no fault in them, and the daemon's process is as confined as they say.
# Prints the exposure that systemd-analyze gives; fails at the first thing that is not as it should be.
set -eu
for unit in storebox.service storebox-steady.service storebox-steady.timer storebox-escalate.service \
    storebox-degraded.service storebox-again.timer; do
    said=$(systemd-analyze verify --man=no "$unit" 2>&1) || { echo "$unit: $said"; exit 1; }
    [ -z "$said" ] || { echo "$unit: $said"; exit 1; }
done
systemd-analyze security --no-pager --threshold=15 storebox.service | tail -1
main=$(systemctl show --property MainPID --value storebox.service)
[ "$main" -gt 0 ] || { echo "storebox does not run"; exit 1; }
expect() {
    found=$(sed -n "s/^$1:[[:space:]]*//p" "/proc/$main/status")
    [ "$found" = "$2" ] || { echo "$1 is $found, not $2"; exit 1; }
}
user=$(id -u storebox)
expect Uid "$(printf '%s\t%s\t%s\t%s' "$user" "$user" "$user" "$user")"
expect CapEff 0000000000000000
expect CapBnd 0000000000000000
expect NoNewPrivs 1
expect Seccomp 2
cores=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' "/proc/$main/status")
case "$cores" in *[!0-9]*) echo "it did not keep to one core: $cores"; exit 1 ;; esac
