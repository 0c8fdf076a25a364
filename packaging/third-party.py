#!/usr/bin/env python3
"""What cardpress is linked with: every crate with its licence, then the texts of the licences, each once.

    packaging/third-party.py x86_64-unknown-linux-gnu > THIRD-PARTY

Asks cargo, not the network: the sources of all crates are there once the program was built. A crate without a file of its
own is listed with the licence that it names.
"""
import json
import os
import re
import subprocess
import sys

NAMED = re.compile(r"^(licen[cs]e|copying|notice|unlicense)", re.IGNORECASE)
# Beside liblzma (0BSD) lie those of xz's programs and tests, beside zstd (BSD) its other licence: neither is what we use.
OTHER = re.compile(r"^\s*GNU (LESSER )?GENERAL PUBLIC LICENSE")


def linked(target):
    """The crates that end up in the program: no tests, no build scripts."""
    words = ["cargo", "metadata", "--locked", "--offline", "--format-version=1", "--filter-platform", target]
    told = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in told["packages"]}
    nodes = {node["id"]: node for node in told["resolve"]["nodes"]}
    root = told["resolve"]["root"]
    seen, wait = {root}, [root]
    while wait:
        for dependency in nodes[wait.pop()]["deps"]:
            is_linked = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if is_linked and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                wait.append(dependency["pkg"])
    crates = [packages[id] for id in seen - {root}]
    return sorted(crates, key=lambda crate: (crate["name"], crate["version"]))


def texts(crate):
    """The licence files of a crate, sorted by name; of a library that it brings along, too."""
    top = os.path.dirname(crate["manifest_path"])
    folders = [top]
    if crate["links"]:
        folders += sorted(entry.path for entry in os.scandir(top) if entry.is_dir())
    for path in (os.path.join(folder, name) for folder in folders for name in sorted(os.listdir(folder))):
        if NAMED.match(os.path.basename(path)) and os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                text = "\n".join(line.rstrip() for line in file.read().strip().splitlines())
            if not OTHER.match(text):
                yield text


def main():
    crates = linked(sys.argv[1])
    print("cardpress is linked with these crates. Recipes and profiles hold nothing of others.\n")
    holders = {}
    for crate in crates:
        licence = crate["license"] or crate["license_file"] or "see its text"
        print(f"{crate['name']} {crate['version']}: {licence}")
        for text in texts(crate):
            holders.setdefault(text, []).append(crate["name"])
    for text, names in holders.items():
        print(f"\n{'=' * 100}\nOf {', '.join(sorted(set(names)))}:\n\n{text}")


main()
