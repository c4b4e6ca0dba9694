package definition

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func plain(t *testing.T, text string) (string, Errors) {
	t.Helper()
	p := &problems{path: "e"}
	return string(parseEpilogue(p, []byte(text))), p.found
}

// podman knows no heredoc, no directive, and ends a line where BuildKit goes on: it gets what is
// left of none of them.
func TestPodmanGetsAnEpilogueInPlainForm(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"comments alone", "# FROM here on\n\n", ""},
		{"a comment", "# FROM here on\nRUN true\n", "RUN true\n"},
		{"the syntax directive", "# syntax=docker/dockerfile:1\nrun true", "RUN true\n"},
		{"a continuation", "RUN apt-get update \\\n && apt-get install \\\n  # why\n\n  FROM there\n", "RUN apt-get update  && apt-get install   FROM there\n"},
		{"a script", "RUN <<EOF\nFROM \"x\" & $y\n\techo\nEOF\n", `RUN ["/bin/sh","-c","FROM \"x\" & $y\n\techo\n"]` + "\n"},
		{"a script without its tabs", "RUN <<-EOF\n\tcat <<X\n\ta\n\tX\nEOF\n", `RUN ["/bin/sh","-c","cat <<X\na\nX\n"]` + "\n"},
		{"input for a program", "RUN --mount=type=tmpfs,target=/x cat <<'A' 3<<B >/x\nFROM a\nA\nFROM b\nB\nUSER me\n",
			`RUN --mount=type=tmpfs,target=/x ["/bin/sh","-c","cat <<'A' 3<<B >/x\nFROM a\nA\nFROM b\nB"]` + "\nUSER me\n"},
		{"no heredoc", "RUN cat <<<word && echo $((1<<X))\nRUN echo 'a <<EOF'\n", "RUN cat <<<word && echo $((1<<X))\nRUN echo 'a <<EOF'\n"},
		{"a backslash at the end", "RUN echo a\\\\\nRUN b\n", `RUN ["/bin/sh","-c","echo a\\\\"]` + "\nRUN b\n"},
		{"the other stage", "COPY --from=builder /a /a\nCOPY --chown=1:1 [\"a\", \"b c\"]\n", "COPY --from=builder /a /a\nCOPY --chown=1:1 [\"a\", \"b c\"]\n"},
		{"labels", "LABEL org.opencontainers.image.licenses=MIT \\\n  \"a b\"=c\nlabel d e f\n", "LABEL org.opencontainers.image.licenses=MIT   \"a b\"=c\nLABEL d e f\n"},
		{"all else", "ENV A=b C=\"d e\"\nWORKDIR /x y\nVOLUME [\"/d\"]\nHEALTHCHECK --interval=5s CMD true\nONBUILD RUN true\nEXPOSE 80\nSTOPSIGNAL 9\nARG X=1\nCMD [\"x\"]\nENTRYPOINT x\nSHELL [\"/bin/bash\", \"-c\"]\nRUN a\n",
			"ENV A=b C=\"d e\"\nWORKDIR /x y\nVOLUME [\"/d\"]\nHEALTHCHECK --interval=5s CMD true\nONBUILD RUN true\nEXPOSE 80\nSTOPSIGNAL 9\nARG X=1\nCMD [\"x\"]\nENTRYPOINT x\nSHELL [\"/bin/bash\", \"-c\"]\nRUN a\n"},
		{"Windows's line ends and a mark", "\ufeffRUN a \\\r\n b\r\nRUN c\r\n", "RUN a  b\nRUN c\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, found := plain(t, test.text)
			if diff := cmp.Diff(test.want, got); diff != "" || len(found) > 0 {
				t.Errorf("%v\n%s", found, diff)
			}
		})
	}
}

func TestAnEpilogueIsRefusedByName(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"FROM x", "e:1:1: FROM starts another image"},
		{"RUN a\n  fr\\\nom x\n", "e:2:3: FROM starts another image"},
		{"FR`\nOM x\n", "e:1:1: \"FR`\" is no instruction"},
		{"# escape=`\nFR`\nOM x\n", "e:1:1: the directive escape is refused"},
		{"ONBUILD FROM x", "e:1:1: FROM starts another image"},
		{"RUM true", "e:1:1: \"RUM\" is no instruction"},
		{"RUN <<EOF\nFROM x\n", "e:1: a heredoc has no end"},
		{"RUN <<EOF\n#!/usr/bin/python3\nEOF\n", "e:1:1: RUN with a heredoc that begins with #!"},
		{"COPY <<EOF /x\na\nEOF\n", "e:1:1: COPY with a heredoc: put the file below spacktainer/"},
		{"ONBUILD RUN <<EOF\na\nEOF\n", "e:1:1: ONBUILD with a heredoc"},
		{"SHELL [\"/bin/bash\", \"-c\"]\nRUN <<EOF\na\nEOF\n", "e:2:1: RUN with a heredoc or a backslash at its end, behind SHELL"},
		{"ENV A=b\\\\\n", "e:1:1: ENV ends in a backslash"},
		{"RUN a\x00b", "e:1:1: RUN cannot be written on one plain line"},
		{"RUN <<EOF\na\x00b\nEOF\n", "e:1:1: RUN cannot be written on one plain line"},
		{"RUN \xff", "UTF-8"},
		{"RUN --mount=type=secret,id=x cat /run/secrets/x", "e:1:1: RUN --mount=type=secret,id=x: an epilogue mounts files of the definition (bind) or memory (tmpfs), and no secret"},
		{"RUN --mount=type=ssh a", "no ssh"},
		{"RUN --mount=type=cache,target=/x a", "no cache"},
		{"RUN --mount=id=x,type=cache,target=/x a", "and no cache"},
		{"RUN --mount=type=bind,type=cache,target=/x a", "no cache"},
		{"RUN --mount=from=evil,target=/x a", "mounts nothing of other images"},
		{"RUN --mount=type=bind,from=builder,target=/x a", "mounts nothing of other images"},
		{"RUN --mount=type=bind,target=/x,rw a", "and no rw"},
		{"RUN --mount=type=bind,target=/x,readonly=false a", "and no readonly=false"},
		{"RUN --mount=type=$T,target=/x a", "without quotes and variables"},
		{"RUN --mount=\"type=secret\" a", "no secret"},
		{"RUN --mount=\"type=bind,target=/a b\" cat <<E\na\nE\n", "cannot be written on one plain line"},
		{"RUN --mount=\"type=tmpfs,target=/a --network=host\" cat <<E\na\nE\n", "cannot be written on one plain line"},
		{"RUN \\\n  --mount=type=secret,id=x \\\n  a", "no secret"},
		{"run --mount=type=tmpfs,target=/x --mount=type=secret a", "no secret"},
		{"ONBUILD RUN --mount=type=secret,id=x a", "no secret"},
		{"RUN --network=host a", "a step has the network of the build"},
		{"RUN --security=insecure a", "this flag is refused"},
		{"RUN --device=/dev/x a", "this flag is refused"},
		{"COPY --from=docker.io/library/alpine /x /x", "copies from the stage builder only"},
		{"COPY --from=$X /x /x", "copies from the stage builder only"},
		{"COPY --from=1 /x /x", "copies from the stage builder only"},
		{"ADD --from=x /x /x", "this flag is refused"},
		{"LABEL org.opencontainers.image.revision=evil", "LABEL org.opencontainers.image.revision is set by the build"},
		{"LABEL a=b \\\n \"org.opencontainers.image.base.digest\"=evil", "is set by the build"},
		{"LABEL org.open\\containers.image.revision evil", "is set by the build"},
		{"LABEL org.openbraininstitute.spacktainers.build-key=evil", "is set by the build"},
		{"ARG X=org\nLABEL ${X}.opencontainers.image.revision=evil", "no variable in it is looked up"},
		{"ONBUILD LABEL org.opencontainers.image.revision=evil", "is set by the build"},
	} {
		if _, found := plain(t, test.text); len(found) == 0 || !strings.Contains(found.Error(), test.want) {
			t.Errorf("%q: got %v, want %s", test.text, found, test.want)
		}
	}
}

func TestEpiloguesThatMentionHeredocsAreTaken(t *testing.T) {
	paths, err := filepath.Glob("testdata/epilogues/*.epilogue")
	if err != nil || len(paths) == 0 {
		t.Fatal(err, len(paths))
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, found := plain(t, string(text)); len(found) > 0 || got != string(text) {
			t.Errorf("%s: %v\ngot  %s\nwant %s", path, found, got, text)
		}
	}
}

// What a script prints is asked of a shell: that of the plain form, and that of the heredoc as it
// stands.
func TestAScriptDoesInPlainFormWhatItsHeredocDoes(t *testing.T) {
	for _, text := range []string{
		"cat <<EOF\n$((1+1)) 'a' \"b\" \\\\ `echo x`\nEOF\n",
		"cat <<'EOF'\n$((1+1)) 'a' \"b\" \\\\ `echo x`\nEOF\n",
		"cat <<-EOF | tr a b\n\taaa\n\tEOF\n",
		"cat <<A - <<B\n1\nA\n2\nB\n",
	} {
		want, err := exec.Command("/bin/sh", "-c", text).Output()
		if err != nil {
			t.Fatal(err)
		}
		line, found := plain(t, "RUN "+text)
		var words []string
		if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "RUN ")), &words); err != nil || len(found) > 0 {
			t.Fatalf("%s: %v %v", line, err, found)
		}
		got, err := exec.Command(words[0], words[1:]...).Output()
		if err != nil || string(got) != string(want) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

// plainLine is how podman's parser finds an instruction: the first word of a line that no backslash
// joins to the next.
var plainLine = regexp.MustCompile(`^(ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|RUN|SHELL|STOPSIGNAL|USER|VOLUME|WORKDIR)( [^\x00-\x08\x0a-\x1f\x7f]*)?$`)

func FuzzEpilogue(f *testing.F) {
	for _, seed := range []string{"RUN a \\\n b\n", "# escape=`\nFR`\nOM x", "RUN <<A <<-B\nx\nA\ny\n\tB\n", "COPY --from=x a b", "RUN --mount=type=cache,target=/x a", "LABEL a=b", "RUN echo a\\\\\nFROM x", "ONBUILD RUN x", "\ufeff# syntax=x\nENV A=\"b\\\\\"", "RUN [\"a\", \"b\"]\\", "FROM\u00a0x", "\u2028FROM x", "RUN a\rFROM x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := &problems{path: "e"}
		got := parseEpilogue(p, []byte(text))
		if len(p.found) > 0 {
			return
		}
		for line := range strings.Lines(string(got)) {
			line = strings.TrimSuffix(line, "\n")
			if !plainLine.MatchString(line) || strings.HasSuffix(strings.TrimRight(line, " \t"), `\`) {
				t.Errorf("%q became %q", text, line)
			}
			for _, word := range []string{"type=cache", "type=secret", "type=ssh", "from=ev"} {
				if strings.HasPrefix(line, "RUN --mount=") && strings.Contains(strings.Fields(line)[1], word) {
					t.Errorf("%q became %q", text, line)
				}
			}
		}
		p = &problems{path: "e"}
		if again := parseEpilogue(p, got); len(p.found) > 0 || string(again) != string(got) {
			t.Errorf("%q became %q, and that %q: %v", text, got, again, p.found)
		}
	})
}
