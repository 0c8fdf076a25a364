#!/usr/bin/env python3
"""A terminal's text as an SVG: standard input to standard output, the same bytes for the same text.

    docs/img/terminal.py < docs/img/build.txt > docs/img/build.svg

A line that begins with "$ " was typed. Long lines are wrapped between words, as they would be read on a narrow terminal.
No font is embedded: a line is stretched to its columns, so every monospaced font fits.
"""
import sys
import textwrap
from xml.sax.saxutils import escape

COLUMNS, CHAR, LINE, PAD, BAR = 76, 8.4, 20, 18, 34
TYPED, SHOWN, PROMPT = "#f0f3f6", "#b9c3cd", "#6fd08c"


def wrapped(line):
    if len(line) <= COLUMNS:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.wrap(line, COLUMNS, subsequent_indent=indent, drop_whitespace=True, break_on_hyphens=False)


def text(x, y, fill, content, weight=""):
    length = round(len(content) * CHAR, 1)
    return (f'<text x="{x}" y="{y}" fill="{fill}"{weight} textLength="{length}" xml:space="preserve">'
            f'{escape(content)}</text>')


def main():
    rows, y = [], BAR + PAD + 10
    for line in sys.stdin.read().splitlines():
        typed = line.startswith("$ ")
        if typed and rows:
            y += LINE // 2
        for piece in wrapped(line):
            if typed and piece.startswith("$ "):
                rows.append(text(PAD, y, PROMPT, "$"))
                rows.append(text(PAD + 2 * CHAR, y, TYPED, piece[2:], ' font-weight="bold"'))
            elif piece:
                space = len(piece) - len(piece.lstrip())
                rows.append(text(round(PAD + space * CHAR, 1), y, SHOWN, piece.lstrip()))
            y += LINE
    width, height = round(2 * PAD + COLUMNS * CHAR), y - LINE + PAD
    dots = "".join(f'<circle cx="{PAD + 4 + 18 * i}" cy="17" r="5.5" fill="{c}"/>'
                   for i, c in enumerate(["#e0645c", "#dfb14e", "#5fb65f"]))
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
          f'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" font-size="14">')
    print(f'<rect width="{width}" height="{height}" rx="8" fill="#1d232a"/>')
    print(f'<path d="M0 8a8 8 0 0 1 8-8h{width - 16}a8 8 0 0 1 8 8v{BAR - 8}h-{width}z" fill="#2b333c"/>{dots}')
    print("\n".join(rows))
    print("</svg>")


main()
