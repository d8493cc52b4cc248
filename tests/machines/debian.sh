#!/bin/sh
# Run a command as a newcomer would: on a fresh, minimal Debian, as an ordinary
# user, in a clone of this checkout whose path has a space and an umlaut.
#
#   sudo tests/machines/debian.sh SUITE FOLDER [COMMAND]
#
# for example: sudo tests/machines/debian.sh trixie /tmp/debian13 "make demo"
# Without COMMAND it is a shell. FOLDER is made with debootstrap, and used again
# if it exists: 'git pull' in it brings new commits. Only committed files are in
# the clone. Nothing outside FOLDER is changed.
set -eu
[ $# -ge 2 ] || { sed -n '2,/^set/{/^#/p}' "$0" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "$0: debootstrap needs root: sudo $0" >&2; exit 1; }
for program in debootstrap git unshare; do
    command -v $program >/dev/null || {
        echo "$0: $program is missing: apt-get install $program" >&2; exit 1; }
done
suite=$1 root=$2 command=${3:-exec bash}
checkout=$(cd "$(dirname "$0")/../.." && pwd)
packages=$(sed -n 's/^sudo apt-get install //p' "$checkout/README.md")
home='/home/Zoë Müller'

if [ ! -e "$root/ready" ]; then
    mkdir -p "$root"
    debootstrap --variant=minbase \
        --include="$(echo $packages ca-certificates git | tr ' ' ,)" \
        "$suite" "$root"
    chroot "$root" useradd --no-log-init -s /bin/bash -d "$home" newcomer
    mkdir "$root$home"
    chroot "$root" chown newcomer: "$home"
    touch "$root/ready"
fi

# How this machine reaches the network, and where pip looks for packages.
cp /etc/resolv.conf "$root/etc/resolv.conf"
cat /etc/ssl/certs/ca-certificates.crt > "$root/etc/ssl/certs/ca-certificates.crt"
{ echo '[global]'; pip config list 2>/dev/null | sed -n \
    "s/^global\.\(index-url\|cert\|proxy\|trusted-host\)='\(.*\)'\$/\1 = \2/p"
} > "$root/etc/pip.conf"

# The mounts end with the process: they are in a namespace of its own.
export suite root command checkout home
exec unshare --mount --pid --fork --kill-child sh -euc '
    mount --make-rprivate /
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mkdir -p "$root/checkout"
    mount --bind -o ro "$checkout" "$root/checkout"
    git=$(git -C "$checkout" rev-parse --path-format=absolute --git-common-dir)
    mkdir -p "$root$git"
    mount --bind -o ro "$git" "$root$git"
    exec chroot --userspec=newcomer "$root" env -i HOME="$home" TERM=dumb \
        LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin bash -euc "
        cd
        git config --global safe.directory \"*\"
        [ -e mmlowformer ] || git clone -q /checkout mmlowformer
        cd mmlowformer
        $command"'
