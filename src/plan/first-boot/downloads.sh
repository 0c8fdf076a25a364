#!/bin/sh
# Fetches the files named below: address, SHA-256, path and mode of each. Safe to cut off and to run again: a file is
# there whole or not at all, and one that is there is not fetched. One that fails does not hold up the others.
set -eu

helper=${CARDPRESS_APT_HELPER:-/usr/lib/apt/apt-helper}
keyrings=${CARDPRESS_KEYRINGS:-/etc/apt/keyrings}

# is FILE DIGEST
is() {
    [ -f "$1" ] && [ "$(sha256sum < "$1" | cut -c 1-64)" = "$2" ]
}

# fetch URL DIGEST PATH MODE
fetch() {
    if is "$3" "$2"; then
        chmod "$4" "$3"
        return
    fi
    if [ -d "$3" ]; then
        echo "$3: a directory is in the way"
        return 1
    fi
    folder=${3%/*}/
    part=$folder.${3##*/}.cardpress
    # As root, because nobody else may write there; what comes is judged by its digest.
    if mkdir -p "$folder" \
        && "$helper" -qq --option APT::Sandbox::User=root download-file "$1" "$part" "SHA256:$2" \
        && is "$part" "$2" && chmod "$4" "$part" && sync "$part" && mv "$part" "$3" && sync "$folder"; then
        echo "$3: fetched"
        return
    fi
    rm -f "$part" "$part.FAILED"
    echo "$3: not fetched from $1"
    return 1
}

failed=0
while [ "$#" -ge 4 ]; do
    fetch "$1" "$2" "$3" "$4" || failed=1
    shift 4
done

# Keys of package sources come armored or not; apt tells them apart by their names alone.
for key in "$keyrings"/cardpress-*.key; do
    [ -e "$key" ] || continue
    armored=${key%.key}.asc
    if grep -q -e '-----BEGIN PGP PUBLIC KEY BLOCK-----' "$key"; then
        cat "$key" > "$armored.new"
    else
        {
            echo '-----BEGIN PGP PUBLIC KEY BLOCK-----'
            echo
            base64 "$key"
            echo '-----END PGP PUBLIC KEY BLOCK-----'
        } > "$armored.new"
    fi
    chmod 644 "$armored.new"
    sync "$armored.new"
    mv "$armored.new" "$armored"
done

exit "$failed"
