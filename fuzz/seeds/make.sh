#!/bin/sh
# Makes the images that fuzzing starts from: small, sound, with one of everything in them. They are kept compressed
# beside this recipe, because they should not change with the version of mke2fs. Needs e2fsprogs, gzip.
set -eu
cd "$(dirname "$0")"
export E2FSPROGS_FAKE_TIME=1700000000 LC_ALL=C
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

mkdir -p "$tree/root/etc" "$tree/root/many" "$tree/root/deep/er/still"
printf 'raspberrypi\n' >"$tree/root/etc/hostname"
head -c 70000 /dev/zero | tr '\0' 'x' >"$tree/root/etc/big"
ln -s hostname "$tree/root/etc/link"
ln -s "$(printf 'a%.0s' $(seq 90))" "$tree/root/etc/long-link"
for number in $(seq 100); do
    : >"$tree/root/many/$(printf '%0100d' "$number")"
done
# Blocks here and there: an extent for each, more than fit the inode.
for number in $(seq 0 2 180); do
    printf 'block %d\n' "$number" | dd of="$tree/root/holes" bs=1024 seek="$number" conv=notrunc status=none
done

# make NAME FEATURES LENGTH [mke2fs arguments]
make() {
    name=$1 features=$2 length=$3
    shift 3
    rm -f "$name.img"
    mke2fs -q -t ext4 -F -b 1024 -I 256 -N 256 -m 0 -U 11111111-2222-3333-4444-555555555555 \
        -E hash_seed=66666666-7777-8888-9999-000000000000,root_owner=0:0 -O "$features" "$@" \
        -d "$tree/root" "$name.img" "$length"
    head -c 600 /dev/zero | tr '\0' 'v' >"$tree/value"
    {
        echo 'ea_set /etc/hostname user.short value'
        echo 'ea_set /etc/hostname user.other another'
        echo "ea_set -f $tree/value /etc/hostname user.long"
        echo 'ea_set /etc/big security.capability 0123456789012345678'
        echo "ea_set -f $tree/value /etc/big user.long"
    } >"$tree/script"
    debugfs -w -f "$tree/script" "$name.img" >/dev/null 2>&1
    # An index for the directory of many names.
    e2fsck -fyD "$name.img" >/dev/null || [ $? -eq 1 ]
    e2fsck -fn "$name.img" >/dev/null
}

pack() {
    gzip -9n <"$1.img" >"$1.img.gz"
    rm "$1.img"
}

make plain '^metadata_csum,^uninit_bg,^64bit,^has_journal,^huge_file' 2M
make checked 'metadata_csum,64bit,^has_journal' 2M
make blockmap '^extent,^metadata_csum,^uninit_bg,^64bit,^has_journal,^flex_bg' 2M
make logged '^metadata_csum,^uninit_bg,^64bit' 4M
# Two copies of blocks of the inode table and the root directory, other blocks, and one revoked.
debugfs -R 'cat /etc/big' logged.img 2>/dev/null | head -c 4096 >"$tree/blocks"
printf 'jo\njw -b 3000-3003 %s\njw -b 3001-3003 %s\njw -r 3002\njc\n' "$tree/blocks" "$tree/blocks" >"$tree/script"
debugfs -w -f "$tree/script" logged.img >/dev/null 2>&1
for name in plain checked blockmap logged; do pack "$name"; done
