#!/usr/bin/env bash
# The suite in a Debian of another architecture or release: debian.sh s390x bookworm, debian.sh amd64 sid.
# Needs root, debootstrap, for foreign architectures qemu-user-static, and a wheel in dist/. It makes some 400 MB in
# .platforms/; a foreign one gets nothing configured, only its files unpacked, since that takes minutes under emulation.
set -euo pipefail
cd "$(dirname "$0")/../.."
architecture=$1 suite=$2
shift 2
root=$PWD/.platforms/$suite-$architecture
for program in debootstrap unzip; do
    command -v $program >/dev/null || { echo "$program is needed (Debian: apt-get install $program)"; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "root is needed, to make a Debian in a folder and to enter it"; exit 1; }
wheel=$(ls -t dist/*.whl | head -1)

if [ ! -e "$root/.ready" ]; then
    rm -rf "$root"
    if [ "$architecture" = amd64 ]; then
        debootstrap --variant=minbase --include="${PYTHONS:-python3.14-venv,python3.15-venv}" "$suite" "$root" >/dev/null
    else
        debootstrap --arch="$architecture" --foreign --variant=minbase --include=python3 "$suite" "$root" >/dev/null
        for package in "$root"/var/cache/apt/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
    fi
    touch "$root/.ready"
fi

case $architecture in amd64 | i386) emulator= ;; armhf) emulator=arm ;; ppc64el) emulator=ppc64le ;; *) emulator=$architecture ;; esac
binfmt=/proc/sys/fs/binfmt_misc
if [ -n "$emulator" ] && [ ! -e "$binfmt/qemu-$emulator" ]; then
    rule=/usr/lib/binfmt.d/qemu-$emulator.conf
    [ -e "$rule" ] || { echo "qemu-user-static is needed (Debian: apt-get install qemu-user-static)"; exit 1; }
    [ -e $binfmt/register ] || mount -t binfmt_misc binfmt_misc $binfmt
    cat "$rule" >$binfmt/register
fi

cp -L /etc/resolv.conf "$root/etc/resolv.conf"
mkdir -p "$root/etc/ssl/certs"  # whom this machine trusts, so that pip finds the same registry
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
if [ "$architecture" != amd64 ]; then  # only what is pure, and crc32c by its wheel or by a stand-in
    site=$root/opt/site
    rm -rf "$site" && mkdir -p "$site"
    pip="python3 -m pip download --quiet --disable-pip-version-check --python-version 3.11 --only-binary :all: -d $root/opt/wheels"
    $pip --platform any --implementation py --abi none pytest hypothesis click rich kaitaistruct
    $pip --no-deps --platform manylinux2014_"${architecture/i386/i686}" crc32c 2>/dev/null ||
        cp tests/platforms/standin/crc32c.py "$site"
    for file in "$root"/opt/wheels/*.whl "$wheel"; do unzip -q -o "$file" -d "$site"; done
fi

# A name space of its own: the mounts end with it.
export root wheel architecture emulator
exec unshare --mount --fork bash -c '
    mkdir -p "$root/repo" && mount --bind "$PWD" "$root/repo"
    mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && mount -t tmpfs -o size=8g tmpfs "$root/tmp"
    if [ "$architecture" = amd64 ]; then
        exec chroot "$root" sh -c "cd /repo && first=\$(ls /usr/bin/python3.1? | head -1) &&
            exec \$first tests/platforms/pythons.py --wheel \"$wheel\" --environments /opt/environments $*"
    fi
    slow=${emulator:+--deselect tests/format/test_bat.py::test_paging_is_lazy_and_bounded}  # watches all memory: > 10 min
    exec chroot "$root" env PYTHONPATH=/opt/site PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 sh -c \
        "cd /repo && python3 -c \"import sys; print(sys.version, sys.byteorder, sys.maxsize)\" &&
         exec python3 -m pytest -q -p no:cacheprovider \
            --deselect tests/format/test_rules.py::test_documentation_is_current $slow $*"
' bash "$@"
