# shellcheck shell=bash disable=SC2154
# A folder with another Debian, for what this machine lacks; sourced after common.sh by scripts that define `skip REASON`. bash.

# chroot_make FOLDER SUITE ARCHITECTURE PACKAGES...: makes it with debootstrap, unless it is there; needs root, and the mirror that this
# machine's apt uses. ARCHITECTURE is a second one whose packages can be installed (arm64), or ''. A folder with /ready is complete.
chroot_make() {
    local folder=$1 suite=$2 architecture=$3 log=$1.log mirror
    shift 3
    [ ! -e "$folder/ready" ] || return 0
    [ "$os" = Linux ] || skip "a chroot needs Linux"
    [ "$(id -u)" = 0 ] || skip "only root can make a chroot of Debian $suite"
    unshare --mount --propagation private true 2>/dev/null || skip "this machine does not let us mount"
    has apt-get || skip "no apt-get, so no Debian mirror"
    mkdir -p "$(dirname "$folder")"
    if ! has debootstrap; then
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap; } \
            </dev/null >"$log" 2>&1 || skip "apt cannot install debootstrap; $log says why"
    fi
    # shellcheck disable=SC2016 # a format, not a variable
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 2>/dev/null | head -n 1)
    printf 'Debian %s into %s\n' "$suite" "$folder"
    rm -rf "$folder"
    debootstrap --variant=minbase "$suite" "$folder" "${mirror:-http://deb.debian.org/debian}" </dev/null >"$log" 2>&1 ||
        skip "debootstrap failed; $log says why"
    # Signatures are checked, dates are not: an old mirror will do, and a clock may be off.
    # shellcheck disable=SC2016 # the inner shell's variables
    chroot "$folder" sh -c '
        set -e
        export DEBIAN_FRONTEND=noninteractive LC_ALL=C
        [ -z "$1" ] || dpkg --add-architecture "$1"
        shift
        apt-get update -qq -o Acquire::Check-Valid-Until=false
        apt-get install -y -qq --no-install-recommends "$@"
        apt-get clean
    ' sh "$architecture" "$@" </dev/null >"$log" 2>&1 || skip "packages of $suite cannot be installed; $log says why"
    touch "$folder/ready"
}

# chroot_run FOLDER [FROM=TO]... -- COMMAND...: runs it there, with each folder FROM of this machine bound to TO, read-only as
# FROM=TO:ro. The mounts are in a namespace of their own and end with the command.
chroot_run() {
    # shellcheck disable=SC2016 # the inner shell's variables
    unshare --mount --propagation private sh -c '
        set -e
        folder=$1
        shift
        mount -t proc proc "$folder/proc"
        mount --rbind /dev "$folder/dev"
        while [ "$1" != -- ]; do
            from=${1%%=*} to=${1#*=} options=rw
            case $to in *:ro) to=${to%:ro} options=ro ;; esac
            mkdir -p "$folder$to"
            mount --bind -o "$options" "$from" "$folder$to"
            shift
        done
        shift
        exec chroot "$folder" "$@"
    ' sh "$@"
}

# What scripts/test-dist and scripts/test-swift use: compilers and build tools, and no Rust.
trixie_packages() {
    echo gcc g++ libc6-dev cmake make ninja-build pkg-config binutils golang-go ca-certificates git swiftlang
}
