package definition

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/suggest"
)

// Load reads the definitions of the repository at root, sorted by name, then
// platform. Where some have mistakes it returns the good ones and, as error,
// the Errors of the others.
func Load(root string) ([]Definition, error) {
	dir, err := os.OpenRoot(root) // follows no link out of the repository
	if err != nil {
		return nil, fmt.Errorf("load definitions: %w", err)
	}
	defer func() { _ = dir.Close() }()
	l := loader{root: root, fsys: dir.FS()}
	if files, err := dir.OpenRoot(FilesFolder); err == nil {
		defer func() { _ = files.Close() }()
		l.files = files
	}
	if err := l.tree(); errors.Is(err, fs.ErrNotExist) {
		return nil, &noDefinitions{root}
	} else if err != nil {
		return nil, fmt.Errorf("load definitions from %s: %w", root, err)
	}
	slices.SortFunc(l.definitions, func(a, b Definition) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Platform, b.Platform))
	})
	if len(l.errs) == 0 {
		return l.definitions, nil
	}
	l.errs.sort()
	return l.definitions, l.errs
}

// noDefinitions is fs.ErrNotExist in words.
type noDefinitions struct{ root string }

func (e *noDefinitions) Error() string {
	where := "in " + e.root
	if e.root == "." {
		where = "here"
	}
	return fmt.Sprintf("no %s %s: run this in the repository's root", Folder, where)
}

func (e *noDefinitions) Unwrap() error { return fs.ErrNotExist }

type loader struct {
	root        string
	fsys        fs.FS
	files       *os.Root // FilesFolder, nil where there is none
	definitions []Definition
	errs        Errors
}

func (l *loader) report(of *Definition, name, format string, args ...any) {
	p := problems{of: of, path: name}
	p.file(format, args...)
	l.errs = append(l.errs, p.found...)
}

func (l *loader) tree() error {
	children, err := fs.ReadDir(l.fsys, Folder)
	if err != nil {
		return err
	}
	for _, child := range children {
		name := path.Join(Folder, child.Name())
		if skipped(child.Name()) {
			continue
		}
		info, err := fs.Stat(l.fsys, name)
		platform, known := platforms[child.Name()]
		switch {
		case err != nil:
			l.report(nil, name, "%s", reason(err))
		case info.IsDir() && known:
			l.platform(name, platform)
		case info.IsDir():
			l.report(nil, name, "is no architecture: the folders here are %s; a name that begins with _ is skipped", strings.Join(architectures(), " and "))
		case slices.Contains([]string{".yaml", ".yml", ".def", ".lock"}, path.Ext(name)):
			l.report(nil, name, "belongs to no platform: put it into %s", suggest.OneOf(architectures()))
		}
	}
	return nil
}

// skipped tells whether a file or folder is none of ours: begins with _ or is hidden.
func skipped(name string) bool {
	return strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".")
}

func architectures() []string {
	return slices.Sorted(maps.Keys(platforms))
}

// platform reads the folder of an architecture.
func (l *loader) platform(dir, platform string) {
	children, err := fs.ReadDir(l.fsys, dir)
	if err != nil {
		l.report(nil, dir, "%s", reason(err))
		return
	}
	byName := map[string][]Definition{}
	for _, child := range children {
		if skipped(child.Name()) {
			continue
		}
		if d, ok := l.find(dir, child.Name(), platform); ok {
			d.Root, d.Platform, d.Strip = l.root, platform, true
			byName[d.Name] = append(byName[d.Name], d)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		found := byName[name]
		if len(found) > 1 {
			for _, d := range found[1:] {
				l.report(&d, d.Path, "defines %q again: it is defined in %s", name, found[0].Path)
			}
			continue
		}
		l.load(found[0])
	}
}

// find tells which definition, if any, a child of an architecture's folder is.
func (l *loader) find(dir, child, platform string) (Definition, bool) {
	file := path.Join(dir, child)
	of := &Definition{Name: nameOf(child), Platform: platform} // what a mistake is in
	info, err := fs.Stat(l.fsys, file)
	if err != nil {
		l.report(of, file, "%s", reason(err))
		return Definition{}, false
	}
	if info.IsDir() {
		of.Name = child
		d := Definition{Name: child, Kind: Environment, Dir: file, Path: path.Join(file, "spack.yaml")}
		if _, err := fs.Lstat(l.fsys, d.Path); err != nil {
			l.report(of, file, "holds no spack.yaml; begin its name with _ if it is no definition")
			return Definition{}, false
		}
		d.LockPath = l.existing(path.Join(file, "spack.lock"))
		d.EpiloguePath = l.existing(path.Join(file, "Dockerfile.epilogue"))
		return d, true
	}
	name := nameOf(child)
	switch strings.TrimPrefix(child, name) {
	case ".yaml":
		return Definition{Name: name, Kind: Environment, Dir: dir, Path: file, LockPath: l.existing(path.Join(dir, name+".spack.lock"))}, true
	case ".def":
		return Definition{Name: name, Kind: Apptainer, Dir: dir, Path: file}, true
	case ".yml":
		l.report(of, file, "is not read: call it %s.yaml", name)
	case ".spack.lock":
		if l.existing(path.Join(dir, name+".yaml")) == "" {
			l.report(of, file, "is the lockfile of %s.yaml, which does not exist", name)
		}
	}
	return Definition{}, false
}

// nameOf is the name of the definition that a file beside others belongs to.
func nameOf(file string) string {
	for _, ending := range []string{".spack.lock", ".yaml", ".yml", ".def"} {
		if name, ok := strings.CutSuffix(file, ending); ok {
			return name
		}
	}
	return file
}

// existing returns the path if something is there, also a link that leads
// nowhere: reading it then says so.
func (l *loader) existing(name string) string {
	if _, err := fs.Lstat(l.fsys, name); err != nil {
		return ""
	}
	return name
}

// load reads and checks one definition.
func (l *loader) load(d Definition) {
	p := &problems{of: &d, path: d.Path}
	checkName(p, d.Name)
	if data, err := fs.ReadFile(l.fsys, d.Path); err != nil {
		p.file("%s", reason(err))
	} else if d.Kind == Apptainer {
		readApptainer(p, l.fsys, data, &d)
	} else {
		l.readEnvironment(p, data, &d)
	}
	found := slices.Concat(p.found, l.checkLock(&d), l.readEpilogue(&d))
	if len(found) == 0 {
		l.definitions = append(l.definitions, d)
	}
	l.errs = append(l.errs, found...)
}

// checkLock checks that a lockfile is a file; what it says is not looked at.
func (l *loader) checkLock(d *Definition) Errors {
	p := &problems{of: d, path: d.LockPath}
	if d.LockPath == "" {
		return nil
	}
	if info, err := fs.Stat(l.fsys, d.LockPath); err != nil {
		p.file("%s", reason(err))
	} else if !info.Mode().IsRegular() {
		p.file("is no file")
	}
	return p.found
}

func (l *loader) readEpilogue(d *Definition) Errors {
	p := &problems{of: d, path: d.EpiloguePath}
	if d.EpiloguePath == "" {
		return nil
	}
	data, err := fs.ReadFile(l.fsys, d.EpiloguePath)
	if err != nil {
		p.file("%s", reason(err))
		return p.found
	}
	d.Epilogue = parseEpilogue(p, data)
	return p.found
}

var validName = regexp.MustCompile(`^[a-z0-9]+(?:[._-][a-z0-9]+)*$`)

// checkName refuses what no registry takes as the name of a repository.
func checkName(p *problems, name string) {
	switch {
	case validName.MatchString(name):
	case validName.MatchString(strings.ToLower(name)):
		p.file("%q is no name for an image: write it in lower case, %q", name, strings.ToLower(name))
	default:
		p.file("%q is no name for an image: use lower-case letters and digits, separated by single '.', '_' or '-'", name)
	}
}
