#!/usr/bin/env bash
# CI as a new machine sees it: a Debian in a folder with nothing but its base, a fresh clone of what is committed, and
# `bash .ci/run` in it. Needs root and debootstrap; makes some 4 GB in .platforms/. Its first lines tell what it has.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD/.platforms/clean-root
command -v debootstrap >/dev/null || { echo "debootstrap is needed (Debian: apt-get install debootstrap)"; exit 1; }
[ "$(id -u)" = 0 ] || { echo "root is needed, to make a Debian in a folder and to enter it"; exit 1; }

rm -rf "$root"
debootstrap --variant=minbase --include=ca-certificates bookworm "$root" >/dev/null
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
cp -L /etc/hosts "$root/etc/hosts"
cp /usr/local/share/ca-certificates/* "$root/usr/local/share/ca-certificates/" 2>/dev/null || true  # whom this machine
chroot "$root" update-ca-certificates >/dev/null 2>&1  # trusts, so that the registries are the same
git clone -q . "$root/src/vhdxreader"
[ ! -d ../shared ] || cp -rL ../shared "$root/src/shared"  # it may be a link

# A name space of its own, so that the mounts end with it; of the environment only the certificates.
certificates=$(env | grep -E '^[A-Z_]+=/etc/ssl/certs' || true)
export root certificates
exec unshare --mount --pid --fork bash -c '
    mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && mount --rbind /sys "$root/sys"
    exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 $certificates sh -c \
        "dpkg -l | tail -n +6 | wc -l && cd /src/vhdxreader && exec bash .ci/run"
'
