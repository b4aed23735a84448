# shellcheck shell=bash
# bare.sh: a minimal Debian 12, for the scripts that prove things in one. Sourced; root only.
#   bare_make ROOT        debootstrap's minbase and certificates, if ROOT has no system yet
#   bare_environment      sets `bare_settings`: the host's variables by which package archives are reached
#   bare_configure ROOT   the same, and lends ROOT the files for it: whatever the way is, so that it works behind a mirror too
#   bare_run ROOT COMMAND in namespaces of its own; nothing of the host's environment but bare_settings

# Files by which apt, pip and name resolution know their way.
bare_files=(
    /etc/apt/apt.conf /etc/apt/apt.conf.d /etc/apt/auth.conf.d /etc/apt/keyrings /etc/apt/preferences.d /etc/apt/trusted.gpg.d /etc/apt/sources.list
    /etc/apt/sources.list.d /etc/pip.conf /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt /usr/local/share/ca-certificates
)
bare_settings=()

bare_make() {
    local root=$1
    command -v debootstrap >/dev/null || { echo "debootstrap is missing. Install it with: apt-get install debootstrap" >&2; exit 78; }
    mkdir -p "$root"
    chmod 755 "$root"
    [ ! -e "$root/etc/debian_version" ] || return 0
    echo "a minimal Debian 12 in $root"
    debootstrap --variant=minbase --include=ca-certificates bookworm "$root" >"$root.log" 2>&1 || { tail -n 20 "$root.log" >&2; exit 1; }
    rm -f "$root.log"
}

bare_environment() {
    local name
    bare_settings=()
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        [ -z "${!name:-}" ] || bare_settings+=("$name=${!name}")
    done
    while IFS= read -r name; do bare_settings+=("$name=${!name}"); done < <(compgen -e | grep '^PIP_' | grep -v '^PIP_FIND_LINKS$' || true)
}

bare_configure() {
    local root=$1 path
    [ ! -d /etc/apt/sources.list.d ] || rm -f "$root/etc/apt/sources.list"
    for path in "${bare_files[@]}"; do
        [ -e "$path" ] || continue
        rm -rf -- "${root:?}$path"
        mkdir -p "$(dirname "$root$path")"
        cp -aL "$path" "$root$path"
    done
    bare_environment
}

bare_run() {
    # shellcheck disable=SC2016 # expanded by the shell inside
    unshare --mount --pid --fork --kill-child --ipc --uts /bin/sh -c '
        mount -t proc proc "$0/proc" && mount -t tmpfs -o mode=1777 tmpfs "$0/dev/shm" 2>/dev/null
        for node in null zero full random urandom tty; do
            [ -c "$0/dev/$node" ] || { : >"$0/dev/$node" && mount --bind "/dev/$node" "$0/dev/$node"; }
        done
        exec chroot "$0" /usr/bin/env -i "$@"' \
        "$1" PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb ${bare_settings[@]+"${bare_settings[@]}"} /bin/bash -c "$2" </dev/null
}
