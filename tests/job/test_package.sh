#!/bin/bash
# The archive that cpack makes: what cmake --install puts there, and the program runs from where it is unpacked. The package for Debian, where dpkg-deb is: it depends on what the program is linked to, and on mpirun.
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/common.sh"
cd "$work"
generators=TGZ
! command -v dpkg-deb >/dev/null || generators="TGZ;DEB"
cpack --config "${UNMASK_BUILD:?}/CPackConfig.cmake" -G "$generators" -B "$work/made" >log 2>&1 || fail "cpack: $(tail -5 log)"
mkdir opt
tar -xzf made/unmask-*.tar.gz -C opt --strip-components 1
cmake --install "$UNMASK_BUILD" --prefix "$work/installed" >/dev/null
diff <(cd installed && find . -type f | LC_ALL=C sort) <(cd opt && find . -type f | LC_ALL=C sort) || fail "the archive has other files than cmake --install puts there"
rc 0 env -i PATH=/usr/bin:/bin opt/bin/unmask version
rc 78 env -i PATH=/usr/bin:/bin HOME="$work" ASAN_OPTIONS="$ASAN_OPTIONS" opt/bin/unmask doctor
grep -qF "$work/opt/share/unmask/mtcnn.h5" out || fail "doctor does not look in the unpacked tree: $(cat out)"
if [ -e "$(echo made/unmask_*.deb)" ]; then
    dpkg-deb -I made/unmask_*.deb >info
    depends=$(sed -n 's/^ Depends: //p' info)
    [[ $depends == *openmpi-bin* ]] || fail "the package does not bring mpirun: $depends"
    # Each library that the program names must come from a package that is named. (A sanitizer's build names those of other libraries, too.)
    ! readelf -d opt/bin/unmask | grep -q libasan || : >sanitized
    while [ ! -e sanitized ] && IFS= read -r library; do
        package=$({ dpkg -S "$library" || dpkg -S "$(readlink -f "$library")"; } 2>/dev/null | head -1 | cut -d: -f1) || true
        case $package in
        '' | libc6 | libgcc-s1 | libstdc++6 | libasan* | libubsan*) continue ;; # always there, or not a package's
        esac
        [[ ", $depends," == *", $package,"* ]] || fail "$library is of $package, which the package does not depend on: $depends"
    done < <(readelf -d opt/bin/unmask | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | while IFS= read -r name; do ldd opt/bin/unmask | sed -n "s|^\t$name => \([^ ]*\) .*|\1|p"; done)
    dpkg-deb -c made/unmask_*.deb >content
    grep -q ' ./usr/bin/unmask$' content || fail "the package has no /usr/bin/unmask"
fi
echo "made and tried: $(cd made && echo unmask[-_]*)"
