package definition

import (
	"errors"
	"io/fs"
	"path"
	"strings"
)

// checkHost refuses what a definition file would do on the machine that builds instead of in the
// container: sections that run there, and files that are none of the repository's. It is a courtesy
// to those who build what others wrote, and no wall where apptainer runs as root: %post is root
// there, too.
func checkHost(p *problems, fsys fs.FS, text []byte, stages []Stage) {
	arguments := map[string]string{}
	for _, s := range stages {
		for name, value := range s.arguments {
			arguments[name] = value
		}
	}
	all, section, fromStage := Stage{arguments: arguments, values: map[string]string{}}, "", false
	for i, line := range strings.Split(string(text), "\n") {
		all.values["line"] = line
		line = strings.TrimSpace(all.value("line"))
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "%"):
			section, fromStage = strings.ToLower(words[0]), len(words) > 2 && words[1] == "from"
			if section == "%setup" || section == "%pre" {
				p.add(i+1, 1, "%s runs on the machine that builds, outside of the container: do it in %%post", section)
			}
		case section == "%files" && !fromStage:
			source := firstWord(line)
			if problem := hostFile(fsys, source); problem != "" {
				p.add(i+1, 1, "%%files: %q %s: put it below the repository's folder", source, problem)
			}
		}
	}
}

// firstWord is the first of the words that %files separates, which may stand in quotes or have
// spaces behind backslashes.
func firstWord(line string) string {
	if quote := line[0]; quote == '"' || quote == '\'' {
		word, _, _ := strings.Cut(line[1:], string(quote))
		return word
	}
	var word strings.Builder
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '\\' && i+1 < len(line):
			i++
		case line[i] == ' ' || line[i] == '\t':
			return word.String()
		}
		word.WriteByte(line[i])
	}
	return word.String()
}

// hostFile says why a source of %files is none of the repository's; empty where it is one, or is
// not there. Links are followed, as apptainer does.
func hostFile(fsys fs.FS, source string) string {
	if path.IsAbs(source) || strings.HasPrefix(source, "~") || strings.ContainsAny(source, "$`{};&|<>()") {
		return "is no path below it, or one for a shell to look up"
	}
	clean := path.Clean(source)
	if !fs.ValidPath(clean) {
		return "leads out of the repository"
	}
	const wild = "*?[\\"
	matches := []string{clean}
	if dir := path.Dir(clean); strings.ContainsAny(dir, wild) {
		return "has a wildcard in the name of a folder"
	} else if strings.ContainsAny(clean, wild) {
		matches, _ = fs.Glob(fsys, clean) // a pattern that is none matches nothing
		if _, err := fs.Stat(fsys, dir); err != nil {
			matches = []string{dir}
		}
	}
	for _, match := range matches {
		if leadsOut(fsys, match, 8) {
			return "is, or has in it, a link that leads out of the repository"
		}
	}
	return ""
}

// leadsOut reports whether a file, or anything below a folder, is a link that leads out of a file
// system, which must be one that does not follow such links. Links to folders are followed so many
// times.
func leadsOut(fsys fs.FS, name string, depth int) bool {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	if !info.IsDir() {
		return false
	}
	entries, err := fs.ReadDir(fsys, name)
	if err != nil || depth == 0 {
		return true
	}
	for _, e := range entries {
		below := depth
		if e.Type()&fs.ModeSymlink != 0 {
			below--
		}
		if (e.IsDir() || below < depth) && leadsOut(fsys, path.Join(name, e.Name()), below) {
			return true
		}
	}
	return false
}
