package targets

import (
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/parentdeath"
	"github.com/openbraininstitute/spacktainers/internal/suggest"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// Stock mage knows flags only as -name=value behind the positional arguments,
// with the parameter's name for name. People write --dry-run, --lock FILE, and
// flags where they think of them; init rewrites the one into the other. What a
// target takes is read from the signatures in this package's own source, so
// that there is no second list to keep.
func init() {
	parentdeath.Hold()
	if isTest() {
		return
	}
	endEarly()
	terminateAsInterrupt()
	targets := signatures()
	theDocument.asked = asksJSON(os.Args[1:])
	args, err := rewrite(slices.Concat(mageAsks(), os.Args[1:]), targets)
	if err != nil {
		_ = theDocument.end(&documentError{err.Error(), exitWrongCall}) // the call is wrong in any case
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(exitWrongCall)
	}
	if sig, ok := helpWanted(args, targets); ok {
		fmt.Print(help(sig, calledAs(os.Args[0])))
		os.Exit(0)
	}
	os.Args = append(os.Args[:1:1], args...)
}

// isTest reports whether this is the test program of a package, and not what a person calls.
func isTest() bool { return len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "-test.") }

//go:embed *.go
var source embed.FS

// A signature is what one target takes on the command line.
type signature struct {
	args  []string        // positional, in order
	flags map[string]bool // by --kebab-name; true for a switch, which needs no value

	name   string // as it is written: containers:why-miss
	doc    string
	params []param // all, in the order of the function's
}

// A param is a parameter of a target.
type param struct {
	name string // NAME of a positional one, flag-name of a flag
	flag bool
	kind string // string, bool, int, float64
	help string
}

// shown is what --plain and --quiet say, which every target takes.
var shown ui.Style

// styleFlag takes one of them, where a target has no flag of that name itself.
func styleFlag(name string, on bool) bool {
	switch name {
	case "plain":
		shown.Plain = on
	case "quiet":
		shown.Quiet = on
	default:
		return false
	}
	return true
}

// optionalArg is the flag that may also stand as a last positional argument,
// which mage has no optional ones of: containers:check NAME.
const optionalArg = "name"

// restArg is the flag that has what stands behind --, as a list of JSON.
const restArg = "arguments"

// signatures reads the targets from this package's source: the methods of
// mage's namespaces, the functions, and, as the bare targets that
// package bare lends a name to, the methods of Bare.
func signatures() map[string]signature {
	found := map[string]signature{}
	files, _ := source.ReadDir(".")
	for _, file := range files {
		if strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		text, _ := source.ReadFile(file.Name())
		parsed, err := parser.ParseFile(token.NewFileSet(), file.Name(), text, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			panic(err) // it compiled
		}
		for _, decl := range parsed.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && isTarget(fn) {
				found[strings.ToLower(targetName(fn))] = signatureOf(fn, parsed.Comments)
			}
		}
	}
	return found
}

// isTarget reports whether mage offers fn: exported, with a context first, as
// every target of this package has.
func isTarget(fn *ast.FuncDecl) bool {
	if !fn.Name.IsExported() || len(fn.Type.Params.List) == 0 {
		return false
	}
	first, ok := fn.Type.Params.List[0].Type.(*ast.SelectorExpr)
	return ok && first.Sel.Name == "Context"
}

func targetName(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return fn.Name.Name
	}
	namespace := fn.Recv.List[0].Type.(*ast.Ident).Name
	if namespace == "Bare" {
		return fn.Name.Name
	}
	return namespace + ":" + fn.Name.Name
}

func signatureOf(fn *ast.FuncDecl, comments []*ast.CommentGroup) signature {
	sig := signature{flags: map[string]bool{}, name: written(targetName(fn)), doc: fn.Doc.Text()}
	for _, field := range fn.Type.Params.List[1:] {
		pointer, optional := field.Type.(*ast.StarExpr)
		kind, _ := field.Type.(*ast.Ident)
		if optional {
			kind, _ = pointer.X.(*ast.Ident)
		}
		for _, name := range field.Names {
			p := param{name: kebab(name.Name), flag: optional, kind: kind.Name}
			p.help = strings.TrimPrefix(behind(field, comments), "--"+p.name+": ") // stock mage shows only the comment
			if optional {
				sig.flags[p.name] = p.kind == "bool"
			} else {
				p.name = strings.ToUpper(p.name)
				sig.args = append(sig.args, p.name)
			}
			sig.params = append(sig.params, p)
		}
	}
	return sig
}

// behind is the comment at the end of a parameter's line.
func behind(field *ast.Field, comments []*ast.CommentGroup) string {
	i := slices.IndexFunc(comments, func(c *ast.CommentGroup) bool { return c.Pos() > field.End() })
	if i < 0 || comments[i].Pos() > field.End()+3 { // a comma and a space
		return ""
	}
	return strings.TrimSpace(comments[i].Text())
}

// written is a target's name as people write it: Containers:WhyMiss is containers:why-miss.
func written(name string) string {
	parts := strings.Split(name, ":")
	for i, part := range parts {
		parts[i] = strings.TrimPrefix(kebab(part), "-")
	}
	return strings.Join(parts, ":")
}

// kebab turns a parameter's name into a flag's: maxAge into max-age, and if_, as Go has a word of its
// own that is if, into if.
func kebab(camel string) string {
	var b strings.Builder
	for _, r := range strings.TrimSuffix(camel, "_") {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('-')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// mageOptions are those of mage itself, and how each is written. A target's own
// flag of such a name goes before.
var mageOptions = map[string]string{
	"d": "-d DIR", "debug": "-debug", "f": "-f", "keep": "-keep", "l": "-l", "t": "-t 5m", "v": "-v", "w": "-w DIR",
}

// rewrite returns args as stock mage wants them. What stands before the first
// target is mage's own and stays as it is.
func rewrite(args []string, targets map[string]signature) ([]string, error) {
	first := slices.IndexFunc(args, func(a string) bool { return !strings.HasPrefix(a, "-") })
	if first > 0 && args[first-1] == "-t" { // mage's timeout takes a value
		rest := slices.IndexFunc(args[first+1:], func(a string) bool { return !strings.HasPrefix(a, "-") })
		if rest < 0 {
			return args, nil
		}
		first += 1 + rest
	}
	if first < 0 {
		return args, nil
	}
	if slices.ContainsFunc(args[:first], wantsNoRun) {
		return slices.Concat(args[:first], []string{asTarget(args[first])}, args[first+1:]), nil
	}
	out := slices.Clone(args[:first])
	for rest := args[first:]; len(rest) > 0; {
		name := asTarget(rest[0])
		sig, ok := targets[strings.ToLower(name)]
		if !ok {
			return nil, unknown("target", rest[0], names(targets))
		}
		isTarget := func(arg string) bool { _, ok := targets[strings.ToLower(asTarget(arg))]; return ok }
		call, after, err := readCall(name, sig, rest[1:], isTarget)
		if err != nil {
			return nil, err
		}
		if call == nil {
			return []string{"-h", name}, nil
		}
		out, rest = append(out, call...), after
	}
	return out, nil
}

// wantsNoRun is true of the options of mage with which it runs no target: what
// stands behind them is no call.
func wantsNoRun(option string) bool {
	return slices.Contains([]string{"h", "help", "l"}, strings.TrimLeft(option, "-"))
}

// asTarget takes the hyphens out of a target's name, which mage cannot have:
// containers:why-miss is its containers:whyMiss.
func asTarget(name string) string { return strings.ReplaceAll(name, "-", "") }

// readCall reads the arguments of one target, flags and positional ones in any
// order, up to the next target. A nil call means that help is wanted.
func readCall(target string, sig signature, args []string, isTarget func(string) bool) (call, rest []string, err error) {
	var positional, flags []string
	given := map[string]bool{}
	for len(args) > 0 {
		arg := args[0]
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			if len(positional) == len(sig.args) {
				if _, ok := sig.flags[optionalArg]; ok && arg != "" && !given[optionalArg] && !isTarget(arg) {
					given[optionalArg] = true
					flags, args = append(flags, "-"+optionalArg+"="+arg), args[1:]
					continue
				}
				break // the next target
			}
			positional, args = append(positional, arg), args[1:]
			continue
		}
		if arg == "--help" || arg == "-h" || arg == "-help" {
			return nil, nil, nil
		}
		if _, takes := sig.flags[restArg]; arg == "--" && takes && !given[restArg] {
			words, err := json.Marshal(args[1:])
			if err != nil {
				return nil, nil, err
			}
			flags, args = append(flags, "-"+restArg+"="+string(words)), nil
			break
		}
		if arg == "--" {
			return nil, nil, wrongCall("-- of %s ends no flags: leave it out", target)
		}
		name, value, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		isSwitch, ok := sig.flag(&name)
		if on, err := strconv.ParseBool(cmp.Or(value, "true")); !ok && err == nil && styleFlag(name, on) {
			args = args[1:]
			continue
		}
		if !ok && mageOptions[name] != "" {
			return nil, nil, wrongCall("%s is an option of mage's own, which come before the target: mage %s %s", arg, mageOptions[name], target)
		}
		if !ok {
			return nil, nil, unknown("flag of "+target, "--"+name, dashed(sig.flags))
		}
		if given[name] {
			return nil, nil, wrongCall("--%s is given twice to %s: separate the values of a list by commas", name, target)
		}
		given[name] = true
		args = args[1:]
		switch {
		case isSwitch && hasValue:
			if _, err := strconv.ParseBool(value); err != nil {
				return nil, nil, wrongCall("--%s of %s is %q: it is true or false", name, target, value)
			}
		case isSwitch && len(args) > 0 && (args[0] == "true" || args[0] == "false"):
			return nil, nil, wrongCall("--%s of %s takes no value behind a space: --%s or --%s=%s", name, target, name, name, args[0])
		case isSwitch:
			value = "true"
		case hasValue:
		case len(args) == 0 || strings.HasPrefix(args[0], "--"):
			return nil, nil, wrongCall("--%s of %s needs a value: --%s=VALUE", name, target, name)
		default:
			value, args = args[0], args[1:]
		}
		if why := sig.refuses(name, value); why != "" {
			return nil, nil, wrongCall("--%s of %s is %q: %s", name, target, value, why)
		}
		if value == "" {
			return nil, nil, wrongCall("--%s of %s is empty: give a value or leave the flag out", name, target)
		}
		if token.IsKeyword(name) {
			name += "_"
		}
		flags = append(flags, "-"+strings.ReplaceAll(name, "-", "")+"="+value)
	}
	if missing := sig.args[len(positional):]; len(missing) > 0 {
		return nil, nil, wrongCall("%s needs %s: mage %s %s", target, strings.Join(missing, " "), target, strings.Join(sig.args, " "))
	}
	return slices.Concat([]string{target}, positional, flags), args, nil
}

// flag finds a flag by the name a person typed: --dry-run, or mage's own
// -dryrun. It leaves the kebab-case name in *name.
func (s signature) flag(name *string) (isSwitch, ok bool) {
	for flag, isSwitch := range s.flags {
		if strings.EqualFold(flag, *name) || strings.EqualFold(strings.ReplaceAll(flag, "-", ""), *name) {
			*name = flag
			return isSwitch, true
		}
	}
	return false, false
}

// names are those of the targets, as they are written.
func names(targets map[string]signature) []string {
	var list []string
	for key, sig := range targets {
		list = append(list, cmp.Or(sig.name, key))
	}
	return list
}

// refuses says why a flag cannot have a value; empty where it can.
func (s signature) refuses(flag, value string) string {
	i := slices.IndexFunc(s.params, func(p param) bool { return p.flag && p.name == flag })
	if i < 0 || value == "" {
		return ""
	}
	_, notInt := strconv.Atoi(value)
	_, notFloat := strconv.ParseFloat(value, 64)
	switch kind := s.params[i].kind; {
	case kind == "int" && notInt != nil:
		return "want a whole number"
	case kind == "float64" && notFloat != nil:
		return "want a number"
	}
	return ""
}

func dashed(flags map[string]bool) []string {
	var names []string
	for name := range flags {
		names = append(names, "--"+name)
	}
	return names
}

// unknown is the error for a name that does not exist: it names the near ones.
func unknown(what, name string, known []string) error {
	return wrongCall("unknown %s %q: %s", what, name, suggest.Hint(name, known))
}
