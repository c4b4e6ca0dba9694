# at is true where the last target on the line is the given one, or where there is none and none is given.
function __spacktainers_at
    set -l target
    for word in (commandline -opc)
        contains -- $word $__spacktainers_targets; and set target $word
    end
    test "$target" = "$argv[1]"
end

# names prints the containers that are defined in the repository around the current folder. Whatever else lies there,
# such as a name that a shell would take for more than a word, is none.
function __spacktainers_names
    set -l up .
    while not test -d $up/container_definitions; and test (realpath $up) != /
        set up $up/..
    end
    for entry in $up/container_definitions/*/*
        string replace -r '.*/' '' -- $entry | string replace -r '\.(yaml|def)$' '' | string match -r '^[a-z0-9][a-z0-9._-]*$'
    end
end
