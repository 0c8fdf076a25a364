#!/bin/sh
# Presses the four nodes of demo.toml and shows what was made. Usage: demo.sh PATH-TO-CARDPRESS
set -eu
cardpress=$1
profile=$(dirname "$0")/demo.toml
out=out

echo "== cardpress plan $profile --node worker1   (what would change; nothing is written)"
planned=$("$cardpress" plan "$profile" --node worker1)
printf '%s\n' "$planned" | sed -n '1,40p'
echo "  … $(($(printf '%s\n' "$planned" | wc -l) - 40)) lines more: type the command to see them all"
echo

echo "== cardpress build $profile"
"$cardpress" build "$profile" --out "$out"

echo
echo "== $out/demo: the length of each image, and what it takes on this disk"
cd "$out/demo"
for file in *.img; do
    printf '%-14s %6s MiB long, %4s MiB on disk\n' "$file" \
        "$(($(wc -c <"$file") / 1048576))" "$(($(du -k "$file" | cut -f 1) / 1024))"
done
echo
echo "Next: name a real Raspberry Pi OS image in a copy of $profile and build again;"
echo "then write its cards: cardpress flash PROFILE NODE=/dev/… (cardpress devices lists them), or any imager"
