package definition

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// readFiles reads the list of source:target and checks that each source can
// be copied and leads nowhere outside of FilesFolder.
func (l *loader) readFiles(p *problems, list *yaml.Node) (pairs []FilePair) {
	if list.Kind != yaml.SequenceNode {
		p.at(list, "files is %s: it is a list of source:target", describe(list))
		return nil
	}
	lines := map[string]int{}
	for _, item := range list.Content {
		if item.Kind == yaml.MappingNode {
			p.at(item, "a file is a mapping: write source:target without a space behind the colon")
			continue
		}
		source, target, ok := strings.Cut(item.Value, ":")
		switch {
		case !isText(item) || !ok || source == "" || target == "" || strings.Contains(target, ":"):
			p.at(item, "a file is %s: it is source:target", describe(item))
			continue
		case strings.ContainsFunc(item.Value, unicode.IsControl) || strings.TrimSpace(source) != source || strings.TrimSpace(target) != target:
			p.at(item, "a file is %q: spaces around and control characters in its paths are refused", item.Value)
			continue
		}
		problem := targetProblem(target)
		if problem != "" {
			p.at(item, "target %q %s", target, problem)
		} else if line, twice := lines[target]; twice {
			p.at(item, "target %q stands twice: first in line %d", target, line)
		} else {
			lines[target] = item.Line
		}
		if l.checkSource(p, item, source) {
			if source = l.resolve(source); source == "." {
				p.at(item, "%q leads to all of %s/: name a file or folder in it", item.Value, FilesFolder)
			}
		}
		pairs = append(pairs, FilePair{Source: path.Join(FilesFolder, source), Target: target})
	}
	return pairs
}

func targetProblem(target string) string {
	switch {
	case !path.IsAbs(target):
		return "is not absolute"
	case strings.Contains("/"+target+"/", "/../"):
		return "holds '..'"
	case path.Clean(target) != target:
		return "is not clean: write " + path.Clean(target)
	case target == "/":
		return "is the root: name a path below it"
	}
	return ""
}

func (l *loader) checkSource(p *problems, item *yaml.Node, source string) (ok bool) {
	switch {
	case path.IsAbs(source):
		p.at(item, "source %q is absolute: sources are relative to %s/", source, FilesFolder)
		return false
	case !filepath.IsLocal(source):
		p.at(item, "source %q leads outside of %s/", source, FilesFolder)
		return false
	case path.Clean(source) == ".":
		p.at(item, "source %q is all of %s/: name a file or folder in it", source, FilesFolder)
		return false
	case l.files == nil:
		p.at(item, "source %q does not exist: there is no folder %s/", source, FilesFolder)
		return false
	}
	ok = true
	walk(l.files, path.Clean(source), func(name string, _ fs.FileInfo, err error) {
		if err == nil {
			return
		}
		ok = false
		problem := reason(err)
		if problem == "leads outside" {
			if name == path.Clean(source) {
				problem += " of " + FilesFolder + "/"
			} else {
				problem += " of the folder that is copied"
			}
		}
		p.at(item, "source %q %s", name, problem)
	})
	return ok
}

// resolve follows the links in the path of a source that was checked, so that
// a copy of it finds no link but those below it.
func (l *loader) resolve(source string) string {
	folder, err := filepath.EvalSymlinks(filepath.Join(l.root, FilesFolder))
	if err != nil {
		return source
	}
	file, err := filepath.EvalSymlinks(filepath.Join(folder, source))
	if err != nil {
		return source
	}
	resolved, err := filepath.Rel(folder, file)
	if err != nil || !filepath.IsLocal(resolved) {
		return source
	}
	return filepath.ToSlash(resolved)
}

// walk visits a source and, if it is a folder, everything below. The source
// itself may be a link within FilesFolder, because copying follows it. A link
// below stays a link in the container, so it must not leave the source.
func walk(files *os.Root, source string, visit func(name string, info fs.FileInfo, err error)) {
	info, err := files.Stat(source)
	if err != nil || !info.IsDir() {
		if err == nil {
			err = readable(files, source, info)
		}
		visit(source, info, err)
		return
	}
	dir, err := files.OpenRoot(source)
	if err != nil {
		visit(source, info, err)
		return
	}
	defer func() { _ = dir.Close() }()
	_ = fs.WalkDir(dir.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			visit(path.Join(source, name), nil, err)
			return nil
		}
		info, err := entry.Info()
		if err == nil {
			err = readable(dir, name, info)
		}
		visit(path.Join(source, name), info, err)
		return nil
	})
}

var errNoFile = errors.New("is neither a file nor a folder nor a link")

// readable refuses what cannot be copied: a link that leads nowhere or
// outside, a device, a file that may not be read.
func readable(dir *os.Root, name string, info fs.FileInfo) error {
	switch {
	case info.IsDir():
		return nil
	case info.Mode()&fs.ModeSymlink != 0:
		_, err := dir.Stat(name)
		return err
	case !info.Mode().IsRegular():
		return &fs.PathError{Op: "copy", Path: name, Err: errNoFile}
	}
	f, err := dir.Open(name)
	if err != nil {
		return err
	}
	return f.Close()
}
