package targets

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Main is the program that needs neither mage nor a checkout: it lists the targets, explains one,
// or calls those that the command line names, and returns the exit status. The command line is read
// as mage's is.
func Main() int {
	targets := signatures()
	options := flag.NewFlagSet("spacktainers", flag.ContinueOnError)
	options.SetOutput(io.Discard)
	list := options.Bool("l", false, "")
	explain := options.Bool("h", false, "")
	verbose := options.Bool("v", false, "")
	timeout := options.Duration("t", 0, "")
	if err := options.Parse(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "Error: %v: options before the target are -h, -l, -t 5m and -v\n", err)
		return exitWrongCall
	}
	switch {
	case *explain && options.NArg() > 0: // of a target that exists, the init function has told
		fmt.Fprintln(os.Stderr, "Error:", unknown("target", options.Arg(0), names(targets)))
		return exitWrongCall
	case *list || *explain || options.NArg() == 0:
		fmt.Printf("Spacktainers turns Spack environments into containers and keeps their build\ncache healthy.\n\n"+
			"  %[1]s TARGET [ARGUMENT ...] [--flag=value ...]\n  %[1]s TARGET --help\n\nTargets:\n%[2]s", "spacktainers", listTargets(targets))
		return 0
	}
	if !*verbose {
		log.SetOutput(io.Discard)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if *timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, *timeout)
	}
	defer cancel()
	go cancelOnInterrupt(cancel)
	for _, call := range calls(options.Args(), targets) {
		if err := call.run(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "Error:", err)
			var end interface{ ExitStatus() int }
			if errors.As(err, &end) {
				return end.ExitStatus()
			}
			return exitFailed
		}
	}
	return 0
}

// cleanup is how long an interrupted target may take to leave nothing behind.
const cleanup = 5 * time.Second

// cancelOnInterrupt cancels what runs, and ends the process where that does not end by itself or is
// interrupted again.
func cancelOnInterrupt(cancel context.CancelFunc) {
	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt)
	<-interrupts
	fmt.Fprintln(os.Stderr, "interrupted: cleaning up, which takes up to 5 seconds")
	cancel()
	select {
	case <-interrupts:
	case <-time.After(cleanup):
	}
	os.Exit(exitInterrupted)
}

// A call is a target with its arguments.
type call struct {
	name      string
	arguments []string          // positional
	flags     map[string]string // by the parameter's name in small letters
}

// calls takes apart what rewrite has written for mage.
func calls(args []string, targets map[string]signature) (all []call) {
	for len(args) > 0 {
		c := call{name: strings.ToLower(args[0]), flags: map[string]string{}}
		n := 1 + len(targets[c.name].args)
		c.arguments, args = args[1:n], args[n:]
		for len(args) > 0 && strings.HasPrefix(args[0], "-") {
			name, value, _ := strings.Cut(args[0][1:], "=")
			c.flags[strings.TrimSuffix(name, "_")], args = value, args[1:]
		}
		all = append(all, c)
	}
	return all
}

func (c call) run(ctx context.Context) error {
	function, ok := targetFunctions()[c.name]
	if !ok {
		return unknown("target", c.name, names(signatures()))
	}
	in := []reflect.Value{reflect.ValueOf(ctx)}
	positional := c.arguments
	for i, p := range signatures()[c.name].params {
		kind := function.Type().In(i + 1)
		if !p.flag {
			in, positional = append(in, reflect.ValueOf(positional[0])), positional[1:]
			continue
		}
		text, given := c.flags[strings.ReplaceAll(p.name, "-", "")]
		if !given {
			in = append(in, reflect.Zero(kind))
			continue
		}
		value, err := parseValue(kind.Elem().Kind(), text)
		if err != nil {
			return &exitError{text: fmt.Sprintf("--%s of %s is %q: %v", p.name, c.name, text, err), status: exitWrongCall, err: err}
		}
		pointer := reflect.New(kind.Elem())
		pointer.Elem().Set(value)
		in = append(in, pointer)
	}
	err, _ := function.Call(in)[0].Interface().(error)
	return err
}

// parseValue reads the value of a flag.
func parseValue(kind reflect.Kind, text string) (reflect.Value, error) {
	switch kind {
	case reflect.Bool:
		v, err := strconv.ParseBool(text)
		return reflect.ValueOf(v), orNeeds(err, "it is true or false")
	case reflect.Int:
		v, err := strconv.Atoi(text)
		return reflect.ValueOf(v), orNeeds(err, "want a whole number")
	case reflect.Float64:
		v, err := strconv.ParseFloat(text, 64)
		return reflect.ValueOf(v), orNeeds(err, "want a number")
	}
	return reflect.ValueOf(text), nil
}

func orNeeds(err error, sentence string) error {
	if err != nil {
		return errors.New(sentence)
	}
	return nil
}

// targetFunctions are the targets by their names in small letters, as signatures has them.
func targetFunctions() map[string]reflect.Value {
	found := map[string]reflect.Value{}
	for prefix, methods := range map[string]any{
		"": Bare{}, "base:": Base{}, "ci:": Ci{}, "containers:": Containers{}, "janitor:": Janitor{}, "publish:": Publish{}, "sif:": Sif{},
	} {
		v := reflect.ValueOf(methods)
		for i := range v.NumMethod() {
			found[prefix+strings.ToLower(v.Type().Method(i).Name)] = v.Method(i)
		}
	}
	for name, function := range map[string]any{"completion": Completion, "doctor": Doctor, "quickstart": Quickstart, "init": Init, "keys": Keys, "release": Release, "setup": Setup, "test": Test, "version": Version} {
		found[name] = reflect.ValueOf(function)
	}
	return found
}
