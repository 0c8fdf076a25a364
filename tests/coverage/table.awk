# Of a trace in lcov's format: lines of src/image that can be run, that were not, and the share that was.

function done(  percent) {
    if (wanted && lines) {
        printf "%-40s %6d %6d %6.1f %%\n", name, lines, not_run, 100 * (lines - not_run) / lines
        all_lines += lines
        all_not_run += not_run
    }
    wanted = 0
}

BEGIN {
    printf "%-40s %6s %6s %8s\n", "", "lines", "not", "run"
    printf "" > uncovered
}

/^SF:/ {
    path = substr($0, 4)
    name = path
    sub("^" root, "", name)
    wanted = name ~ /^src\/image\// && name !~ /tests(\/|\.rs$)/
    lines = not_run = 0
    delete text
    # Tests stand at the end of a file, in a module of their own.
    last = 0
    while (wanted && (getline line < path) > 0) {
        last++
        if (line == "#[cfg(test)]") break
        text[last] = line
    }
    close(path)
}

/^DA:/ && wanted {
    split(substr($0, 4), count, ",")
    if (count[1] in text) {
        lines++
        if (count[2] == 0) {
            not_run++
            printf "%s:%d:%s\n", name, count[1], text[count[1]] > uncovered
        }
    }
}

/^end_of_record/ { done() }

END {
    if (all_lines) {
        printf "%-40s %6d %6d %6.1f %%\n", "src/image", all_lines, all_not_run, 100 * (all_lines - all_not_run) / all_lines
    }
}
